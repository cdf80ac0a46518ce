"""The weight gradient as matrix products, beside torch's own in double precision."""

from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bench.models.frugal import frugal, weight_gradient

SMALL = st.integers(1, 4)


def expected(g: Tensor, x: Tensor, weight: Tensor, **geometry: Any) -> Tensor:
    weight = weight.double().requires_grad_()
    y = nn.functional.conv2d(x.double(), weight, **geometry)
    (gradient,) = torch.autograd.grad(y, weight, g.double())
    return gradient


@settings(max_examples=150)
@given(
    samples=SMALL,
    time=st.integers(1, 12),
    width=SMALL,
    taps=st.integers(1, 7),
    stride=st.integers(1, 3),
    padding=st.integers(0, 4),
    dilation=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_it_is_the_gradient_of_any_convolution_along_time(
    samples: int,
    time: int,
    width: int,
    taps: int,
    stride: int,
    padding: int,
    dilation: int,
    seed: int,
) -> None:
    rows = (time + 2 * padding - dilation * (taps - 1) - 1) // stride + 1
    assume(rows > 0 and time + 2 * padding >= dilation * (taps - 1) + 1)
    generator = torch.Generator().manual_seed(seed)
    x, g, weight = (
        torch.randn(shape, generator=generator).contiguous(memory_format=torch.channels_last)
        for shape in ((samples, 3, time, width), (samples, 2, rows, width), (2, 3, taps, 1))
    )
    found = weight_gradient.along_time(
        g, x, taps, stride=stride, padding=padding, dilation=dilation
    )
    geometry = {"stride": (stride, 1), "padding": (padding, 0), "dilation": (dilation, 1)}
    assert found.shape == weight.shape
    assert torch.allclose(found.double(), expected(g, x, weight, **geometry), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("layer", "dtype", "by_products"),
    [
        (nn.Conv2d(16, 32, (3, 1), (2, 1), (1, 0)), torch.float32, True),
        (nn.Conv2d(16, 32, (3, 1), padding=(1, 0), dilation=(2, 1)), torch.float32, True),
        (nn.Conv2d(5, 32, (7, 1), (2, 1), (3, 0)), torch.float32, False),
        (nn.Conv2d(16, 32, 3, padding=1), torch.float32, False),
        (nn.Conv2d(16, 32, (3, 1), (2, 2)), torch.float32, False),
        (nn.Conv2d(16, 32, (3, 1), padding=(1, 1)), torch.float32, False),
        (nn.Conv2d(32, 32, (3, 1), groups=2), torch.float32, False),
        (nn.ConvTranspose2d(16, 32, (3, 1)), torch.float32, False),
        (nn.Conv2d(16, 32, (3, 1)), torch.float64, False),
    ],
)
def test_a_frugal_layer_takes_it_where_it_fits(
    monkeypatch: pytest.MonkeyPatch, layer: nn.Module, dtype: torch.dtype, by_products: bool
) -> None:
    calls: list[int] = []
    along_time = weight_gradient.along_time

    def counted(*tensors: Any, **geometry: Any) -> Tensor:
        calls.append(1)
        return along_time(*tensors, **geometry)

    monkeypatch.setattr(weight_gradient, "along_time", counted)
    torch.manual_seed(0)
    layer = layer.to(dtype=dtype, memory_format=torch.channels_last)
    channels = layer.in_channels
    assert isinstance(channels, int)
    x = torch.randn(2, channels, 9, 4, dtype=dtype).contiguous(memory_format=torch.channels_last)

    def gradients() -> list[Tensor]:
        inner = x.clone().requires_grad_()
        y = layer(inner)
        return list(torch.autograd.grad((y * y).sum(), [inner, *layer.parameters()]))

    stock = gradients()
    assert not calls
    with frugal(layer):
        ours = gradients()
    assert bool(calls) == by_products
    for one, other in zip(ours, stock, strict=True):
        assert torch.allclose(one, other, atol=1e-5, rtol=1e-5)
