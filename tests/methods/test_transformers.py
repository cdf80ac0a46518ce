"""Methods on transformers and MetaFormers of timm: where they act, and counts by hand."""

import copy
import pickle
import re
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as functional
from timm.models.convnext import ConvNeXtBlock
from timm.models.metaformer import Attention, MetaFormerStage, SepConv
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from bench.conformance.case import predict
from bench.contract import Adapted
from bench.errors import ConfigError
from bench.models import backbones
from bench.plugins import adaptation, registry

WIDTH, HIDDEN, HEADS, DEPTH = 8, 32, 2, 3
MAPS, TOKENS = 8, 32  # widths of the two stages of the MetaFormer


def vit() -> nn.Module:
    """Patches, three blocks, a head: (n, 5, 8, 8) → (n, 3)."""
    from timm.models.vision_transformer import VisionTransformer

    torch.manual_seed(0)
    return VisionTransformer(
        img_size=8, patch_size=4, in_chans=5, num_classes=3,
        embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS,
    ).eval()  # fmt: skip


class MetaFormer(nn.Module):
    """A stage of two separable convolutions on maps, a stage of two attentions on tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(5, MAPS, 3, 2, 1)
        self.maps = MetaFormerStage(MAPS, MAPS, depth=2, token_mixer=SepConv)
        self.tokens = MetaFormerStage(
            MAPS, TOKENS, depth=2, token_mixer=Attention, norm_layer=nn.LayerNorm
        )
        self.head = nn.Sequential(nn.Conv2d(TOKENS, 4, 3, 1, 1), nn.GELU())

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.tokens(self.maps(self.stem(x))))
        return y


def metaformer() -> nn.Module:
    torch.manual_seed(0)
    return MetaFormer().eval()


class TorchBlocks(nn.Module):
    """Blocks of torch, whose attention keeps its projection as a bare tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                WIDTH, HEADS, HIDDEN, dropout=0.0, batch_first=True, norm_first=True
            )
            for _ in range(DEPTH)
        )

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


def torch_blocks() -> nn.Module:
    torch.manual_seed(0)
    return TorchBlocks().eval()


def image() -> Tensor:
    return torch.randn(2, 5, 8, 8, generator=torch.Generator().manual_seed(5))


def sequence() -> Tensor:
    return torch.randn(2, 6, WIDTH, generator=torch.Generator().manual_seed(5))


def adapt(name: str, model: nn.Module, **options: object) -> Adapted:
    method = registry.load().get(name).method
    return adaptation.adapt(method, copy.deepcopy(model), method.config(**options))


def trainable(adapted: Adapted) -> dict[str, nn.Parameter]:
    return {name: p for name, p in adapted.model.named_parameters() if p.requires_grad}


def count(adapted: Adapted) -> int:
    return sum(p.numel() for p in trainable(adapted).values())


def shake(adapted: Adapted) -> None:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in trainable(adapted).values():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)


def bottleneck(channels: int, width: int) -> int:
    return 2 * width * channels + width + channels


def low_rank(*layers: tuple[int, int], rank: int) -> int:
    """Of layers with (inputs · kernel, outputs)."""
    return sum(rank * (inputs + outputs) for inputs, outputs in layers)


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


# --- what they compute, written out again ---------------------------------------------------------


def bottleneck_of(x: Tensor, parameters: list[Tensor]) -> Tensor:
    down, b1, up, b2 = parameters
    return functional.linear(functional.relu(functional.linear(x, down, b1)), up, b2)


def two_blocks() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        *(Block(WIDTH, HEADS, qkv_bias=True, init_values=0.5) for _ in range(2))
    ).eval()


def test_houlsby_adapters_stand_behind_attention_and_mlp() -> None:
    network = two_blocks()
    adapted = adapt("adapter", network, width=3)
    shake(adapted)
    values = {n: p.detach() for n, p in trainable(adapted).items()}
    x = expected = sequence()
    for index, block in enumerate(network):
        first = [v for n, v in values.items() if n.startswith(f"{index}.attn.")]
        second = [v for n, v in values.items() if n.startswith(f"{index}.mlp.")]
        with torch.no_grad():
            mixed = block.attn(block.norm1(expected))
            y = expected + block.ls1(mixed + bottleneck_of(mixed, first))
            fed = block.mlp(block.norm2(y))
            expected = y + block.ls2(fed + bottleneck_of(fed, second))
    torch.testing.assert_close(predict(adapted.model, x), expected)


def test_adaptformer_stands_beside_the_mlp() -> None:
    network = two_blocks()
    adapted = adapt("adaptformer", network, width=3, scale=0.2)
    shake(adapted)
    values = {n: p.detach() for n, p in trainable(adapted).items()}
    x = expected = sequence()
    for index, block in enumerate(network):
        branch = [v for n, v in values.items() if n.startswith(f"{index}.mlp.")]
        with torch.no_grad():
            y = expected + block.ls1(block.attn(block.norm1(expected)))
            given = block.norm2(y)
            expected = y + block.ls2(block.mlp(given) + 0.2 * bottleneck_of(given, branch))
    torch.testing.assert_close(predict(adapted.model, x), expected)


@pytest.mark.parametrize("name", ["adapter", "adaptformer"])
def test_in_blocks_of_torch_adapters_act_in_evaluation_too(name: str) -> None:
    """Torch has a fused way through such a block, which asks no module inside it."""
    adapted = adapt(name, torch_blocks())
    shake(adapted)
    with torch.no_grad():
        training = adapted.model.train()(sequence())
    torch.testing.assert_close(predict(adapted.model, sequence()), training)
    assert not torch.allclose(training, predict(torch_blocks(), sequence()), atol=0.05)


@pytest.mark.parametrize("name", ["lora", "dora", "ssf"])
@pytest.mark.parametrize("build", [vit, metaformer, torch_blocks])
def test_weight_space_methods_merge_under_the_networks_own_names(
    name: str, build: Callable[[], nn.Module]
) -> None:
    network = build()
    x = sequence() if build is torch_blocks else image()
    adapted = adapt(name, network, **({} if name == "ssf" else {"rank": 2}))
    shake(adapted)
    before = predict(adapted.model, x)
    assert adapted.merge is not None
    merged = adapted.merge()
    assert merged.state_dict().keys() == network.state_dict().keys()
    network.load_state_dict(merged.state_dict())
    torch.testing.assert_close(predict(network, x), before)
    assert not torch.allclose(before, predict(build(), x), atol=1e-3)


@pytest.mark.parametrize(
    ("build", "fused"), [(vit, "qkv.weight"), (torch_blocks, "in_proj_weight")]
)
def test_lora_changes_the_rows_that_are_asked_for(
    build: Callable[[], nn.Module], fused: str
) -> None:
    network = build()
    adapted = adapt("lora", network, rank=2, alpha=3.0, layers="*.q,*.v")
    shake(adapted)
    factors = {n: p.detach() for n, p in trainable(adapted).items()}
    assert adapted.merge is not None
    merged = adapted.merge().state_dict()
    start = network.state_dict()
    for name in start:
        change = merged[name] - start[name]
        if not name.endswith(fused):
            assert not change.any(), name
            continue
        queries, keys, values = change.chunk(3)
        assert not keys.any()
        place = name.rpartition(".")[0]
        for part, got in (("q", queries), ("v", values)):
            b = next(v for n, v in factors.items() if place in n and n.endswith(f"{part}.B"))
            a = next(v for n, v in factors.items() if place in n and n.endswith(f"{part}.A"))
            torch.testing.assert_close(got, 1.5 * b @ a)


def test_ssf_scales_and_shifts_behind_a_norm() -> None:
    norm = nn.LayerNorm(WIDTH)
    torch.nn.init.normal_(norm.bias)
    adapted = adapt("ssf", nn.Sequential(norm, nn.Linear(WIDTH, 3)))
    shake(adapted)
    x, pair = sequence(), adapted.model[0].parametrizations.bias[0]
    expected = pair.scale * norm(x) + pair.shift
    torch.testing.assert_close(predict(adapted.model[0], x), expected.detach())


def test_ssf_only_scales_behind_a_norm_without_a_bias() -> None:
    norm = nn.LayerNorm(WIDTH, bias=False)
    adapted = adapt("ssf", nn.Sequential(norm, nn.Linear(WIDTH, 3)))
    shake(adapted)
    x, scale = sequence(), adapted.model[0].parametrizations.weight[0].scale
    assert scale.shape == (WIDTH,)
    torch.testing.assert_close(predict(adapted.model[0], x), (scale * norm(x)).detach())


def test_shallow_prompts_are_another_config_and_deep_ones_the_one_from_before_the_option() -> None:
    method = registry.load().get("prompt_tokens").method
    assert "deep" not in method.config().model_dump()
    assert method.config(deep=False).model_dump()["deep"] is False


def test_prompt_tokens_go_through_all_blocks_when_they_are_shallow() -> None:
    network = torch_blocks()
    adapted = adapt("prompt_tokens", network, tokens=3, deep=False)
    (tokens,) = trainable(adapted).values()
    x = torch.cat((tokens.detach().expand(2, 3, WIDTH), sequence()), dim=1)
    torch.testing.assert_close(predict(adapted.model, sequence()), predict(network, x)[:, 3:])


# --- sequences with a forward method of their own -------------------------------------------------


class Stage(nn.Sequential):
    """Two inputs through one convolution, norm and activation; what is made of it is twice that."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(6, 4, 3, 1, 1)
        self.norm = nn.BatchNorm2d(4)
        self.activation = nn.LeakyReLU()

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        y = super().forward(torch.cat((x, other), dim=1))
        return torch.cat((y, y), dim=1)


class Staged(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.stage(x, 2 * x)
        return y


def pointwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.einsum("oi,nizx->nozx", weight.flatten(1), x) + bias.view(-1, 1, 1)


@pytest.mark.parametrize("name", ["adapter", "adaptformer", "conv_adapter"])
def test_a_sequence_with_its_own_forward_method_keeps_it(name: str) -> None:
    """The adapter is its last layer, the branch stands beside them all; whatever comes of that."""
    torch.manual_seed(0)
    network = Staged().eval()
    adapted = adapt(name, network)
    assert adapted.model.state_dict().keys() > network.state_dict().keys()
    assert torch.equal(predict(adapted.model, maps()), predict(network, maps()))
    shake(adapted)
    p = {".".join(n.rsplit(".", 2)[1:]): v for n, v in trainable(adapted).items()}
    x = maps()
    with torch.no_grad():
        y = predict(network, x)[:, :4]
        given = torch.cat((x, 2 * x), dim=1) if name == "adaptformer" else y
        if name == "conv_adapter":  # 4 channels at compression 8 share one inner channel
            inner = functional.conv2d(y, p["depthwise.weight"], p["depthwise.bias"], padding=1)
            change = pointwise(inner.relu(), p["pointwise.weight"], p["pointwise.bias"])
        else:
            inner = pointwise(given, p["down.weight"], p["down.bias"]).relu()
            change = pointwise(inner, p["up.weight"], p["up.bias"])
        change = 0.1 * change if name == "adaptformer" else change
    expected = torch.cat((y + change, y + change), dim=1)
    torch.testing.assert_close(predict(adapted.model, x), expected)


def maps() -> Tensor:
    return torch.randn(2, 3, 5, 6, generator=torch.Generator().manual_seed(5))


# --- other blocks ---------------------------------------------------------------------------------


def test_blocks_of_convnext_mix_by_a_bare_convolution_on_maps() -> None:
    """timm's: a depthwise convolution on maps, then norm and MLP on (n, z, x, channels)."""
    block = ConvNeXtBlock(WIDTH, ls_init_value=1.0).eval()
    x = torch.randn(2, WIDTH, 5, 6)
    assert count(adapt("adapter", block, width=4)) == 2 * bottleneck(WIDTH, 4)
    assert count(adapt("adaptformer", block, width=4)) == bottleneck(WIDTH, 4)
    assert count(adapt("conv_adapter", block)) == 9 * WIDTH + 1 + WIDTH + WIDTH
    for name in ("adapter", "adaptformer", "conv_adapter"):
        adapted = adapt(name, block)
        assert torch.equal(predict(adapted.model, x), predict(block, x))
        shake(adapted)
        assert not torch.allclose(predict(adapted.model, x), predict(block, x), atol=1e-3)
        pickle.loads(pickle.dumps(adapted.model))


def test_a_decoder_of_torch_has_adapters_behind_both_attentions() -> None:
    layer = nn.TransformerDecoderLayer(WIDTH, HEADS, HIDDEN, batch_first=True)
    places = {n.partition(".adapter")[0] for n in trainable(adapt("adapter", layer))}
    assert places == {"self_attn", "multihead_attn", "linear2"}


@pytest.mark.parametrize("name", ["colora", "spectral_adapter"])
def test_methods_on_convolutions_are_refused_where_these_are_the_readout_only(name: str) -> None:
    patches, head = nn.Linear(WIDTH, WIDTH), nn.Sequential(nn.Conv2d(1, 4, 3, 1, 1), nn.ReLU())
    network = nn.Sequential(patches, *(Block(WIDTH, HEADS) for _ in range(2)), head)
    with pytest.raises(ConfigError, match=f"'{name}' finds nothing to adapt in this"):
        adapt(name, network)
    adapt(name, network, layers="3.0")


def test_attention_with_projections_of_its_own_is_reached_by_name() -> None:
    """torch's, where keys and values have other widths than queries."""
    network = nn.MultiheadAttention(WIDTH, HEADS, kdim=6, vdim=5, batch_first=True)
    inputs = [torch.randn(2, 4, width) for width in (WIDTH, 6, 5)]
    for layers, expected in (((), {"q", "k", "v", "out"}), ("q,v", {"q", "v"})):
        for name in ("lora", "ia3", "lokr"):
            options = {"rank": 2} if name == "lora" else {}
            adapted = adapt(name, network, layers=layers, **options)
            shake(adapted)
            with torch.no_grad():
                before = adapted.model(*inputs)[0]
                assert adapted.merge is not None
                merged = adapted.merge()
                torch.testing.assert_close(merged(*inputs)[0], before)
            now, old = merged.state_dict(), network.state_dict()
            moved = {n.partition("_")[0] for n, v in now.items() if not torch.equal(v, old[n])}
            assert moved == expected, name
    names = set(trainable(adapt("bias", network)))
    assert names == {"in_proj_bias", "out_proj.bias"}


def test_a_projection_called_qkv_is_split_only_where_its_rows_are_known() -> None:
    """Other layers of that name may hold queries, keys and values head by head."""

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Linear(WIDTH, 3 * WIDTH)

    with pytest.raises(ConfigError, match=r"Unknown layer '\*\.v'"):
        adapt("lora", nn.ModuleDict({"attention": Attention()}), layers="*.v", rank=2)
    assert count(adapt("ia3", nn.ModuleDict({"attention": Attention()}))) == WIDTH


# --- networks whose encoder a method does not know ------------------------------------------------


class OnlyAHead(nn.Module):
    """A transformer without convolutional blocks but for the one that refines its output."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(5, WIDTH, 4, 4)
        self.blocks = nn.Sequential(*(Block(WIDTH, HEADS) for _ in range(DEPTH)))
        self.refine = nn.Sequential(nn.Conv2d(WIDTH, 1, 3, 1, 1), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.blocks(self.patches(x).flatten(2).transpose(1, 2))
        y: Tensor = self.refine(tokens.transpose(1, 2).unflatten(2, (2, 2)))
        return y


def unknown_encoder() -> nn.Module:
    """Linear layers that are no block that a method knows, and a convolution behind them."""
    linear = [nn.Linear(WIDTH, WIDTH // 2) for _ in range(3)]
    return nn.ModuleDict(
        {"encoder": nn.ModuleList(linear), "head": nn.Sequential(nn.Conv2d(4, 4, 3, 1, 1))}
    )


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("conv_adapter", OnlyAHead),
        ("adapter", unknown_encoder),
        ("adaptformer", unknown_encoder),
        ("conv_adapter", unknown_encoder),
    ],
)
def test_a_method_that_would_leave_the_encoder_untouched_is_refused(
    name: str, build: Callable[[], nn.Module]
) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"'{name}' finds nothing to adapt in this")):
        adapt(name, build())


@pytest.mark.parametrize("name", ["adapter", "adaptformer"])
def test_a_head_of_convolutions_is_adapted_beside_the_blocks(name: str) -> None:
    places = {n.partition(".")[0] for n in trainable(adapt(name, OnlyAHead()))}
    assert places == {"blocks", "refine"}


# --- the networks that ship -----------------------------------------------------------------------

SHIPPED = {
    # 6 blocks of width 192 with two adapters; behind the stem (64) and the refining sequence (1)
    ("adapter", "hybrid_vit"): 12 * bottleneck(192, 16) + bottleneck(64, 16) + bottleneck(1, 16),
    # beside the MLPs; beside the refining sequence, 32 → 1
    ("adaptformer", "hybrid_vit"): 6 * bottleneck(192, 64) + 33 * 64 + 64 + 1,
    # behind stem and refining sequence
    ("conv_adapter", "hybrid_vit"): 9 * 64 + 8 + 8 * 64 + 64 + (9 + 1) + (1 + 1),
    ("layernorm", "hybrid_vit"): 13 * 2 * 192,
    ("prompt_tokens", "hybrid_vit"): 6 * 10 * 192,
    ("attention", "hybrid_vit"): 6 * (4 * 192**2 + 4 * 192),
    # stages of 3 and 3 separable convolutions, 9 and 3 attentions; the stem's sequence (32); the
    # decoder's convolutions, 512 + 320 → 320, 320 + 128 → 128, 128 + 64 → 64, 64 + 32 → 32
    ("adapter", "caformer_unet"): 2 * sum(
        d * bottleneck(c, 16) for d, c in ((3, 64), (3, 128), (9, 320), (3, 512))
    ) + bottleneck(32, 16) + sum(bottleneck(c, 16) for c in (320, 128, 64, 32)),
    ("adaptformer", "caformer_unet"): sum(
        d * bottleneck(c, 64) for d, c in ((3, 64), (3, 128), (9, 320), (3, 512))
    ) + sum((a + b) * 64 + 64 + 64 * b + b for a, b in ((512, 320), (320, 128), (128, 64), (64, 32))
    ),
    ("conv_adapter", "caformer_unet"): sum(
        n * (9 * c + c // 8 + c * c // 8 + c)
        for n, c in ((3, 64), (3, 128), (2, 32), (1, 320), (1, 128), (1, 64))
    ),
    # behind 24 blocks of the U-Nets (32), not behind the readout
    ("conv_adapter", "fourier_deeponet"): 24 * (9 * 32 + 4 + 4 * 32 + 32),
    # behind branch, four spectral convolutions and nine layers of each U-Net
    ("spectral_adapter", "fourier_deeponet"): (1 + 4 + 3 * 9) * (2 * 26 * 32 + 26 + 32),
    ("attention", "caformer_unet"): 9 * 4 * 320**2 + 3 * 4 * 512**2,
    ("prompt_tokens", "caformer_unet"): 10 * (9 * 320 + 3 * 512),
}  # fmt: skip


@pytest.mark.parametrize(("name", "backbone"), sorted(SHIPPED))
def test_counts_on_the_networks_that_ship(name: str, backbone: str) -> None:
    with torch.device("meta"):
        network = backbones.build(backbone)
    assert count(adapt(name, network)) == SHIPPED[name, backbone]


WEIGHT_METHODS = {
    "ia3", "filter_atoms", "fourierft", "loha", "lokr", "lora_c", "miss", "oft", "pissa", "shira",
    "vera",
}  # fmt: skip
RANKS = {"loha": 2, "lora_c": 2, "pissa": 2}


@pytest.mark.parametrize("name", sorted(WEIGHT_METHODS))
def test_methods_on_weights_reach_the_projections_of_torchs_attention(name: str) -> None:
    """All that is a matrix, as on a network with the same ones in linear layers; and the parts."""
    options = {"rank": RANKS[name]} if name in RANKS else {}

    def changed(**chosen: object) -> dict[str, Tensor]:
        network = torch_blocks()
        adapted = adapt(name, network, **options, **chosen)
        shake(adapted)
        before = predict(adapted.model, sequence())
        assert adapted.merge is not None
        merged = adapted.merge()
        torch.testing.assert_close(predict(merged, sequence()), before)
        old = network.state_dict()
        return {n: v - old[n] for n, v in merged.state_dict().items() if not torch.equal(v, old[n])}

    matrices = {n for n, p in torch_blocks().named_parameters() if p.ndim > 1}
    assert {n for n in changed() if n.endswith("weight")} == matrices
    values = changed(layers="*.v")
    assert {n for n in values if n.endswith("weight")} == {n for n in matrices if "in_proj" in n}
    for difference in values.values():
        queries, keys, rows = difference.chunk(3)
        assert not queries.any() and not keys.any() and rows.any()


def test_ia3_scales_keys_and_values_of_torchs_attention() -> None:
    """Liu et al., equation 1: softmax(q (l_k ⊙ k)ᵀ / √d) (l_v ⊙ v)."""
    torch.manual_seed(0)
    network = nn.MultiheadAttention(WIDTH, 1, batch_first=True)
    x = sequence()
    for layers, scaled in (("in_proj", "kv"), ("k", "k"), ("v", "v"), ("k,v", "kv")):
        adapted = adapt("ia3", network, layers=layers)
        shake(adapted)
        found = torch.cat([p.detach() for p in trainable(adapted).values()])
        factors = dict(zip(scaled, found.split(WIDTH), strict=True))
        with torch.no_grad():
            q, k, v = functional.linear(x, network.in_proj_weight, network.in_proj_bias).chunk(3, 2)
            k, v = k * factors.get("k", 1), v * factors.get("v", 1)
            mixed = (q @ k.transpose(1, 2) / WIDTH**0.5).softmax(2) @ v
            expected = network.out_proj(mixed)
            torch.testing.assert_close(adapted.model(x, x, x)[0], expected)
    with pytest.raises(ConfigError, match="scales keys and values, not the queries 'q'"):
        adapt("ia3", network, layers="q")


def test_bias_trains_the_biases_of_torchs_attention() -> None:
    names = {n for n, p in torch_blocks().named_parameters() if p.ndim == 1 and "norm" not in n}
    assert set(trainable(adapt("bias", torch_blocks()))) == names


@pytest.mark.parametrize("name", ["dora", "lora_plus", "lora_fa", "rslora"])
def test_relatives_of_lora_adapt_the_same_weights(name: str) -> None:
    """Those of torch's attention among them, and by name the parts of a fused projection."""

    def shapes(name: str, network: nn.Module, **options: object) -> list[tuple[int, ...]]:
        method = registry.get(name).method
        adapted = adaptation.adapt(method, network, method.config(**options))
        return sorted(
            tuple(p.shape) for n, p in adapted.model.named_parameters() if n.endswith(".A")
        )

    torch.manual_seed(0)
    for build in (lambda: TorchBlocks().eval(), vit):
        assert shapes(name, build(), rank=2) == shapes("lora", build(), rank=2)
    parts = {"layers": "*.q,*.v", "rank": 2}
    assert shapes(name, vit(), **parts) == shapes("lora", vit(), **parts) != []
