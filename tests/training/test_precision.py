"""The measurement of float32 against bfloat16: which layers it takes, and what it makes of them."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bench.models import backbones
from bench.protocol import survey
from bench.training import precision
from bench.training.precision import LayerCall, LayerTiming, PrecisionTiming


def timing(*seconds: tuple[float, float], operations: float = 1e9) -> PrecisionTiming:
    return PrecisionTiming(
        batch=4,
        layers=tuple(
            LayerTiming(layer="l", operations=operations, float32_seconds=a, bfloat16_seconds=b)
            for a, b in seconds
        ),
    )


@pytest.mark.parametrize("name", ["inversionnet_quarter", "hybrid_vit"])
def test_products_of_the_layers_are_those_that_torch_counts(name: str) -> None:
    """But for the products of attention, which belong to no layer's weight."""
    network = backbones.build(name).eval()
    found = precision.calls(network)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros((1, *survey.RECORD_SHAPE)))
    total = sum(call.products for call in found)
    attention = 0 if name == "inversionnet_quarter" else 0.05
    assert counter.get_total_flops() * (1 - attention) <= 2 * total <= counter.get_total_flops()
    assert all(not module._forward_hooks for module in network.modules())


def test_a_network_without_such_layers_is_taken_as_a_whole() -> None:
    class Plain(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean(dim=1, keepdim=True)[:, :, :70]

    (call,) = precision.calls(plain := Plain())
    assert call.layer is plain
    assert call.shape == (1, *survey.RECORD_SHAPE)


def test_layers_are_drawn_in_proportion_to_their_work() -> None:
    """Eight at equal distances: one with half of the work is there four times."""
    layer = nn.Identity()
    calls = [LayerCall(layer=layer, shape=(1, n), products=p) for n, p in enumerate((4, 0.1, 2, 2))]
    chosen = [call.shape[1] for call in precision.representative(calls)]
    assert chosen == [0, 0, 0, 0, 2, 2, 3, 3]


@pytest.mark.parametrize(
    ("seconds", "speedup", "wins"),
    [
        (((1.0, 0.5), (1.0, 0.5)), 2.0, True),
        (((1.0, 0.5), (1.0, 1.5)), 1.0, False),
        (((1.19, 1.0),), 1.19, False),
        (((1.21, 1.0),), 1.21, True),
        (((1.0, 1.62),), 1 / 1.62, False),
    ],
)
def test_bfloat16_has_to_win_by_a_margin(
    seconds: tuple[tuple[float, float], ...], speedup: float, wins: bool
) -> None:
    """1.62: a processor whose flags name bfloat16 and which multiplies it so much more slowly."""
    found = timing(*seconds)
    assert found.speedup == pytest.approx(speedup)
    assert found.bfloat16_wins == wins


def test_measuring_leaves_the_process_as_it_was() -> None:
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    found = precision.measure("inversionnet_quarter", batch=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    # or it was given up after some layers of one sample, on a processor that emulates bfloat16
    assert (len(found.layers), found.batch) == (8, 2) or found.batch == 1


def test_the_fastest_turn_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """bfloat16 is held up in the first of two turns; eight layers have 32 calls before them."""
    made = iter(range(10_000))

    def seconds(call: LayerCall, batch: int, *, bfloat16: bool) -> float:
        held_up = next(made) // 16 == 2
        return (1e-2 if held_up else 1e-3) if bfloat16 else 3e-3

    monkeypatch.setattr(precision, "_SECONDS", 0.0)
    monkeypatch.setattr(precision, "_seconds", seconds)
    assert precision.measure("inversionnet_quarter", batch=2).speedup == pytest.approx(3)


def test_one_slow_layer_does_not_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest has no kernel of its own in bfloat16, the others are as fast as can be."""
    calls: list[LayerCall] = []

    def seconds(call: LayerCall, batch: int, *, bfloat16: bool) -> float:
        calls.append(call)
        return (60e-3 if call == calls[0] else 1e-3) if bfloat16 else 3e-3

    monkeypatch.setattr(precision, "_seconds", seconds)
    found = precision.measure("inversionnet_quarter", batch=2)
    assert len(found.layers) == 8


def test_emulated_bfloat16_is_given_up_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def seconds(call: LayerCall, batch: int, *, bfloat16: bool) -> float:
        asked.append(bfloat16)
        return 60.0 if bfloat16 else 0.1

    monkeypatch.setattr(precision, "_seconds", seconds)
    found = precision.measure("inversionnet_quarter", batch=16)
    assert asked == [False, False, True, True] * 2, "two layers"
    assert len(found.layers) == 2
    assert not found.bfloat16_wins
