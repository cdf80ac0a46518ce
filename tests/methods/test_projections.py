"""Methods on weights and the projections of attention: which rows of a fused one they change."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as functional
from torch import Tensor, nn
from transformer_networks import (
    HEADS,
    WIDTH,
    TorchBlocks,
    adapt,
    count,
    sequence,
    shake,
    torch_blocks,
    trainable,
    vit,
)

from bench.conformance.case import predict
from bench.errors import ConfigError
from bench.plugins import adaptation, registry


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
