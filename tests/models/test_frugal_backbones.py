"""The shipped networks without BatchNorm through the frugal pass: methods, numbers, bytes."""

from functools import cache
from itertools import product

import matrix
import pytest
import torch
from frugal_networks import assert_close, assert_same, step
from torch import Tensor, nn

from bench.models import backbones
from bench.models.frugal import frugal
from bench.plugins import adaptation, registry
from bench.training.numerics import Numerics
from bench.training.saved_for_backward import saved_bytes_per_sample

BACKBONES = ("hybrid_vit", "caformer_unet")
METHODS = ("fft", "lora", "bitfit", "layernorm")


def adapted(backbone: str, name: str) -> nn.Module:
    torch.manual_seed(0)
    method = registry.load().get(name).method
    model = adaptation.adapt(method, backbones.build(backbone), method.config()).model
    adaptation.training_mode(model, method.traits.batchnorm)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad and not p.any():  # a few steps after the start
                p.normal_(std=0.02)
    return model


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("backbone", matrix.part(BACKBONES, "hybrid_vit"))
def test_methods_in_float32(backbone: str, name: str) -> None:
    model = adapted(backbone, name)
    x = torch.randn(1, 5, 1000, 70)
    assert_same(model, x, tolerance=1e-5)
    with torch.no_grad(), frugal(model):
        assert_close(model(x), step(model, x, frugally=False)[0], 1e-5, "without gradients")


@pytest.mark.parametrize("backbone", matrix.part(BACKBONES, "hybrid_vit"))
def test_biases_in_float64(backbone: str) -> None:
    """Where the most is computed once more."""
    x = torch.randn(1, 5, 1000, 70, dtype=torch.float64)
    assert_same(adapted(backbone, "bitfit").double(), x, tolerance=1e-9)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU on this machine")
@pytest.mark.parametrize(("backbone", "name"), list(product(BACKBONES, METHODS)))
def test_methods_on_a_gpu(backbone: str, name: str) -> None:
    """In double precision, and under autocast, which normalises in single precision there."""
    model = adapted(backbone, name).cuda()
    x = torch.randn(2, 5, 1000, 70, device="cuda")
    with torch.autocast("cuda", torch.bfloat16):
        stock, ours = (step(model, x, frugally=frugally) for frugally in (False, True))
    assert ours[0].dtype == stock[0].dtype
    assert_close(ours[0], stock[0], 1e-2, "output in bfloat16")
    distance = float((flat(ours[1]) - flat(stock[1])).norm() / flat(stock[1]).norm())
    assert distance < 0.1
    assert_same(model.double(), x.double(), tolerance=1e-9)


@pytest.mark.parametrize("name", matrix.part(["fft", "bitfit"], "bitfit"))
@pytest.mark.parametrize("backbone", matrix.part(BACKBONES, "hybrid_vit"))
def test_bfloat16_autocast_differs_by_rounding(backbone: str, name: str) -> None:
    model = adapted(backbone, name)
    x = torch.randn(2, 5, 1000, 70)
    exact = step(model, x, frugally=False)
    with torch.autocast("cpu", torch.bfloat16):
        stock, ours = (step(model, x, frugally=frugally) for frugally in (False, True))
    assert torch.equal(ours[0], stock[0])
    reference = flat(exact[1])
    error, theirs = (float((flat(run[1]) - reference).norm()) for run in (ours, stock))
    assert error < 1.1 * theirs
    dtypes = [{k: g.dtype for k, g in run[1].items() if g is not None} for run in (ours, stock)]
    assert dtypes[0] == dtypes[1]


def flat(gradients: dict[str, Tensor | None]) -> Tensor:
    return torch.cat([g.flatten() for g in gradients.values() if g is not None])


@cache
def cost(backbone: str, name: str, *, frugally: bool) -> float:
    """Bytes a sample that a method saves in bfloat16."""
    model = adapted(backbone, name)
    numerics = Numerics(device=torch.device("cpu"), bfloat16=True, frugal=frugally)
    numerics.place(model)

    def forward(samples: int) -> Tensor:
        x = torch.zeros(samples, 5, 1000, 70).contiguous(memory_format=torch.channels_last)
        with numerics.autocast():
            y: Tensor = model(x)
        return y

    resident = [*model.parameters(), *model.buffers()]
    with numerics.frugal_pass(model):
        return saved_bytes_per_sample(forward, resident=resident, samples=1)


LIMITS = {
    ("hybrid_vit", "fft"): 0.56,
    ("hybrid_vit", "lora"): 0.56,
    ("hybrid_vit", "bitfit"): 0.21,
    ("hybrid_vit", "layernorm"): 0.08,
    ("caformer_unet", "fft"): 0.65,
    ("caformer_unet", "lora"): 0.60,
    ("caformer_unet", "bitfit"): 0.15,
    ("caformer_unet", "layernorm"): 0.10,
}
"""Of the bytes that stock torch saves in full fine-tuning."""


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("backbone", matrix.part(BACKBONES, "hybrid_vit"))
def test_transformers_keep_the_memory_promise(backbone: str, name: str) -> None:
    stock = cost(backbone, "fft", frugally=False)
    assert cost(backbone, name, frugally=True) <= LIMITS[backbone, name] * stock
