"""The weight gradient as matrix products, beside torch's own in double precision."""

from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bench.models.frugal import frugal, weight_gradient

SMALL = st.integers(1, 4)


def pair(least: int, most: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(least, most), st.integers(least, most))


@settings(max_examples=300)
@given(
    samples=SMALL,
    space=pair(1, 9),
    kernel=pair(1, 5),
    stride=pair(1, 3),
    padding=pair(0, 4),
    dilation=pair(1, 3),
    seed=st.integers(0, 1000),
)
def test_it_is_the_gradient_of_any_convolution(
    samples: int,
    space: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    seed: int,
) -> None:
    geometry = {"stride": stride, "padding": padding, "dilation": dilation}
    axes = zip(space, kernel, padding, dilation, strict=True)
    assume(all(size + 2 * p > d * (taps - 1) for size, taps, p, d in axes))
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn((samples, 3, *space), generator=generator)
    weight = torch.randn((2, 3, *kernel), generator=generator, dtype=torch.float64)
    y = nn.functional.conv2d(x.double(), weight.requires_grad_(), **geometry)
    g = torch.randn(y.shape, generator=generator)
    (expected,) = torch.autograd.grad(y, weight, g.double())
    last = [t.contiguous(memory_format=torch.channels_last) for t in (g, x)]
    found = weight_gradient.by_taps(*last, kernel, **geometry)
    assert found.shape == weight.shape
    assert torch.allclose(found.double(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("layer", "dtype", "by_products"),
    [
        (nn.Conv2d(32, 48, (3, 1), (2, 1), (1, 0)), torch.float32, True),
        (nn.Conv2d(32, 48, (3, 1), padding=(1, 0), dilation=(2, 1)), torch.float32, True),
        (nn.Conv2d(32, 48, 3, stride=2, padding=1), torch.float32, True),
        (nn.Conv2d(32, 48, (3, 2), (2, 2)), torch.float32, True),
        (nn.Conv2d(5, 32, (7, 1), (2, 1), (3, 0)), torch.float32, False),
        (nn.Conv2d(32, 48, 1), torch.float32, False),
        (nn.Conv2d(64, 64, (3, 1), groups=2), torch.float32, False),
        (nn.ConvTranspose2d(32, 48, (3, 1)), torch.float32, False),
        (nn.Conv2d(32, 48, (3, 1)), torch.float64, False),
    ],
)
def test_a_frugal_layer_takes_it_where_it_fits(
    monkeypatch: pytest.MonkeyPatch, layer: nn.Module, dtype: torch.dtype, by_products: bool
) -> None:
    calls: list[int] = []
    by_taps = weight_gradient.by_taps

    def counted(*tensors: Any, **geometry: Any) -> Tensor:
        calls.append(1)
        return by_taps(*tensors, **geometry)

    monkeypatch.setattr(weight_gradient, "by_taps", counted)
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
