"""What methods train, through the frugal pass: outputs, gradients and bytes, beside stock torch."""

import matrix
import pytest
import torch
from frugal_networks import SUBSETS, assert_same, small, step
from torch import Tensor

from bench.conformance.case import Case
from bench.models.backbones.inversionnet import InversionNet
from bench.models.frugal import frugal
from bench.plugins import adaptation, registry
from bench.training import probe
from bench.training.numerics import Numerics
from bench.training.saved_for_backward import saved_bytes_per_sample


@pytest.mark.parametrize("name", matrix.part(sorted(registry.load().methods), *matrix.METHODS))
def test_every_installed_method_in_float32(name: str) -> None:
    """A few steps after the start, where products of two trained factors have both gradients."""
    method = registry.load().get(name).method
    case = Case(method, None)
    adapted = case.trained.adapted
    adaptation.training_mode(adapted.model, method.traits.batchnorm)
    for group in adapted.groups:
        for parameter in group.parameters:
            parameter.requires_grad_(True)
            parameter.grad = None
    assert_same(adapted.model, case.x, tolerance=2e-5)

    def forward(samples: int) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            y: Tensor = adapted.model(case.x[:1].expand(samples, -1, -1, -1).contiguous())
        return y

    resident = [*adapted.model.parameters(), *adapted.model.buffers()]
    stock = saved_bytes_per_sample(forward, resident=resident)
    with frugal(adapted.model):
        assert saved_bytes_per_sample(forward, resident=resident) <= stock


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU on this machine")
@pytest.mark.parametrize("batch_statistics", [False, True])
@pytest.mark.parametrize("subset", SUBSETS)
def test_every_trainable_subset_on_a_gpu(subset: str, batch_statistics: bool) -> None:
    model = small(subset, batch_statistics=batch_statistics).double().cuda()
    x = torch.randn(4, 3, 40, 12, dtype=torch.float64, device="cuda")
    assert_same(model, x, tolerance=1e-9, times=2, fold=True)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("batch_statistics", [False, True])
@pytest.mark.parametrize("subset", SUBSETS)
@pytest.mark.parametrize("fold", [None, True])
def test_every_trainable_subset_in_float32(
    subset: str, batch_statistics: bool, layout: torch.memory_format, fold: bool | None
) -> None:
    model = small(subset, batch_statistics=batch_statistics)
    x = torch.randn(4, 3, 40, 12).to(memory_format=layout)
    assert_same(model, x, tolerance=1e-5, times=2, fold=fold)


@pytest.mark.parametrize("batch_statistics", [False, True])
@pytest.mark.parametrize("subset", SUBSETS)
def test_outputs_and_running_statistics_are_bit_equal_in_float32(
    subset: str, batch_statistics: bool
) -> None:
    model = small(subset, batch_statistics=batch_statistics)
    x = torch.randn(4, 3, 40, 12)
    stock, ours = (step(model, x, frugally=frugally, times=3) for frugally in (False, True))
    assert torch.equal(stock[0], ours[0])
    assert all(torch.equal(buffer, ours[2][name]) for name, buffer in stock[2].items())


@pytest.mark.parametrize("subset", ["all", "lora", "biases", "batchnorm"])
@pytest.mark.parametrize("batch_statistics", [False, True])
def test_bfloat16_autocast_differs_by_rounding(subset: str, batch_statistics: bool) -> None:
    model = small(subset, batch_statistics=batch_statistics)
    x = torch.randn(8, 3, 40, 12).to(memory_format=torch.channels_last)
    exact = step(model, x, frugally=False)
    with torch.autocast("cpu", torch.bfloat16):
        stock, ours = (step(model, x, frugally=frugally) for frugally in (False, True))
    assert ours[0].dtype == stock[0].dtype == torch.bfloat16
    total: dict[str, list[Tensor]] = {"exact": [], "stock": [], "ours": []}
    for name, gradient in exact[1].items():
        if gradient is not None:
            for kind, run in zip(total, (exact, stock, ours), strict=True):
                value = run[1][name]
                assert value is not None and value.dtype == torch.float32
                total[kind].append(value.flatten())
    reference = torch.cat(total["exact"])
    errors = {k: float((torch.cat(v) - reference).norm()) for k, v in total.items()}
    assert errors["ours"] < 1.5 * errors["stock"], errors
    assert errors["ours"] < 0.1 * float(reference.norm()), (errors, float(reference.norm()))


def test_two_runs_agree_bit_for_bit() -> None:
    model = small("lora", batch_statistics=False)
    x = torch.randn(4, 3, 40, 12)
    first, second = (step(model, x, frugally=True, times=2) for _ in range(2))
    mine, again = (
        {name: gradient for name, gradient in run[1].items() if gradient is not None}
        for run in (first, second)
    )
    assert mine
    torch.testing.assert_close(mine, again, rtol=0, atol=0)


def test_float32_inversionnet_with_low_rank_updates() -> None:
    """Depth turns a rounding error into another activation's sign; ours makes none forward."""
    torch.manual_seed(0)
    model = InversionNet().eval()
    SUBSETS["lora"](model)
    assert_same(model, torch.randn(1, 5, 1000, 70), tolerance=1e-5)


# --- bytes ----------------------------------------------------------------------------------------

STOCK_FULL = 27.2 * 2**20
"""What stock torch saves a sample in full fine-tuning of InversionNet in bfloat16."""


def saved(name: str, *, frugally: bool) -> float:
    """Bytes a sample that a method on InversionNet saves, as its record tells them."""
    method = registry.load().get(name).method
    adapted = adaptation.adapt(method, InversionNet(), method.config())
    numerics = Numerics(device=torch.device("cpu"), bfloat16=True, frugal=frugally)
    numerics.place(adapted.model)
    adaptation.training_mode(adapted.model, method.traits.batchnorm)
    return probe.step_cost(adapted.model, numerics).saved_bytes_per_sample


@pytest.mark.exhaustive
def test_stock_torch_saves_27_mib_whatever_is_trained() -> None:
    assert saved("fft", frugally=False) == pytest.approx(STOCK_FULL, rel=0.01)
    assert saved("bitfit", frugally=False) == pytest.approx(STOCK_FULL, rel=0.01)


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        pytest.param("fft", 0.53, marks=pytest.mark.exhaustive),
        pytest.param("lora", 0.53, marks=pytest.mark.exhaustive),
        pytest.param("bitfit", 0.035, marks=pytest.mark.exhaustive),
        pytest.param("batchnorm", 0.25, marks=pytest.mark.exhaustive),
        pytest.param("ssf", 0.25, marks=pytest.mark.exhaustive),
        # What the gradients need: the last block's input, 32 × 70 × 70 numbers, and its output.
        pytest.param("head", 1.001 * 33 * 70 * 70 * 2 / STOCK_FULL, marks=pytest.mark.exhaustive),
        # one bit for each of 6.9 million activations
        pytest.param("prompt", 0.035, marks=pytest.mark.exhaustive),
        pytest.param("batchnorm_stats", 0.0, marks=pytest.mark.exhaustive),
    ],
)
def test_inversionnet_keeps_the_memory_promise(name: str, limit: float) -> None:
    assert saved(name, frugally=True) <= limit * STOCK_FULL
