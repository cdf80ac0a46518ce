"""Trained parameters on small transformers and MetaFormers, by hand counts."""

import pytest
from transformer_networks import (
    DEPTH,
    HIDDEN,
    MAPS,
    TOKENS,
    WIDTH,
    adapt,
    bottleneck,
    count,
    image,
    low_rank,
    metaformer,
    torch_blocks,
    vit,
)

from bench.conformance.case import predict

MLP = 2 * WIDTH * HIDDEN + HIDDEN + WIDTH


ATTENTION = 4 * WIDTH**2 + 4 * WIDTH


NORMS = (2 * DEPTH + 1) * 2 * WIDTH


VIT_LAYERS = [
    (5 * 4 * 4, WIDTH),  # patches
    *[(WIDTH, 3 * WIDTH), (WIDTH, WIDTH), (WIDTH, HIDDEN), (HIDDEN, WIDTH)] * DEPTH,
    (WIDTH, 3),  # head
]


VIT = [
    ("adapter", {"width": 4}, 2 * DEPTH * bottleneck(WIDTH, 4)),
    ("adaptformer", {"width": 4}, DEPTH * bottleneck(WIDTH, 4)),
    ("lora", {"rank": 2}, low_rank(*VIT_LAYERS, rank=2)),
    ("lora", {"rank": 2, "layers": "*.qkv"}, DEPTH * low_rank((WIDTH, 3 * WIDTH), rank=2)),
    ("lora", {"rank": 2, "layers": "*.q,*.v"}, 2 * DEPTH * low_rank((WIDTH, WIDTH), rank=2)),
    ("lora", {"rank": 2, "layers": "*.k,*.qkv"}, DEPTH * low_rank((WIDTH, 3 * WIDTH), rank=2)),
    ("dora", {"rank": 2}, low_rank(*VIT_LAYERS, rank=2) + sum(o for _, o in VIT_LAYERS)),
    ("dora", {"rank": 2, "layers": "*.k"}, DEPTH * (low_rank((WIDTH, WIDTH), rank=2) + WIDTH)),
    ("ssf", {}, 2 * sum(o for _, o in VIT_LAYERS) + NORMS),
    ("attention", {}, DEPTH * ATTENTION),
    ("layernorm", {}, NORMS),
    ("prompt_tokens", {"tokens": 4}, DEPTH * 4 * WIDTH),
    ("prompt_tokens", {"tokens": 4, "deep": False}, 4 * WIDTH),
    ("bias", {}, sum(o for _, o in VIT_LAYERS)),
]


# No layer of a MetaFormer's block has a bias, stem, downsampling and head have; the second stage's
# norms are nn.LayerNorm, the first one's and the downsampling's LayerNorm2d, all with both.
SEPARABLE = [(MAPS, 2 * MAPS), (7 * 7, 2 * MAPS), (2 * MAPS, MAPS)]


META_LAYERS = [
    (5 * 9, MAPS),
    *[*SEPARABLE, (MAPS, 4 * MAPS), (4 * MAPS, MAPS)] * 2,
    (MAPS * 9, TOKENS),
    *[(TOKENS, 3 * TOKENS), (TOKENS, TOKENS), (TOKENS, 4 * TOKENS), (4 * TOKENS, TOKENS)] * 2,
    (TOKENS * 9, 4),
]


META_BIASES = MAPS + TOKENS + 4


META_NORMS = 2 * (2 * 2 * MAPS + MAPS + 2 * 2 * TOKENS)  # two to a block, one before downsampling


META = [
    ("adapter", {"width": 4}, 4 * (bottleneck(MAPS, 4) + bottleneck(TOKENS, 4)) + bottleneck(4, 4)),
    ("adaptformer", {"width": 4}, 2 * (bottleneck(MAPS, 4) + bottleneck(TOKENS, 4))
        + 4 * TOKENS + 4 + 4 * 4 + 4),  # the head's block keeps its shape, TOKENS → 4
    ("conv_adapter", {"compression": 4}, 2 * (9 * MAPS + 2 + 2 * MAPS + MAPS) + 9 * 4 + 1 + 4 + 4),
    ("lora", {"rank": 2}, low_rank(*META_LAYERS, rank=2)),
    ("ssf", {}, sum(o for _, o in META_LAYERS) + META_BIASES + META_NORMS),
    ("attention", {}, 2 * 4 * TOKENS**2),
    ("layernorm", {}, META_NORMS),
    ("prompt_tokens", {"tokens": 4}, 2 * 4 * TOKENS),
    ("prompt_tokens", {"tokens": 4, "deep": False}, 4 * TOKENS),
    ("bias", {}, META_BIASES),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "expected"), VIT)
def test_counts_on_a_vision_transformer(
    name: str, options: dict[str, object], expected: int
) -> None:
    adapted = adapt(name, vit(), **options)
    assert count(adapted) == expected
    assert predict(adapted.model, image()).shape == (2, 3)


@pytest.mark.parametrize(("name", "options", "expected"), META)
def test_counts_on_a_metaformer(name: str, options: dict[str, object], expected: int) -> None:
    adapted = adapt(name, metaformer(), **options)
    assert count(adapted) == expected
    assert predict(adapted.model, image()).shape == (2, 4, 2, 2)


BLOCK_COUNTS = {
    "adapter": 2 * DEPTH * bottleneck(WIDTH, 16),
    "adaptformer": DEPTH * bottleneck(WIDTH, 64),
    "ssf": DEPTH * 2 * (3 * WIDTH + WIDTH + HIDDEN + WIDTH + 2 * WIDTH),
    "attention": DEPTH * ATTENTION,
    "fft": DEPTH * (ATTENTION + MLP + 4 * WIDTH),
}


@pytest.mark.parametrize("name", sorted(BLOCK_COUNTS))
def test_counts_on_blocks_of_torch(name: str) -> None:
    assert count(adapt(name, torch_blocks())) == BLOCK_COUNTS[name]
