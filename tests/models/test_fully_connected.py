"""Convolutions that are fully connected layers, beside torch's own in double precision."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from bench.models.frugal import frugal, fully_connected

SMALL = st.integers(1, 5)
FORMATS = st.sampled_from([torch.contiguous_format, torch.channels_last])


@given(
    samples=SMALL,
    channels=st.tuples(SMALL, SMALL),
    kernel=st.tuples(SMALL, SMALL),
    transposed=st.booleans(),
    formats=st.tuples(FORMATS, FORMATS),
)
def test_gradients_are_those_of_the_convolution(
    samples: int,
    channels: tuple[int, int],
    kernel: tuple[int, int],
    transposed: bool,
    formats: tuple[torch.memory_format, torch.memory_format],
) -> None:
    generator = torch.Generator().manual_seed(0)
    space = (1, 1) if transposed else kernel
    of_x, of_weight = formats
    x = torch.randn((samples, channels[0], *space), generator=generator)
    order = channels if transposed else channels[::-1]
    weight = torch.randn((*order, *kernel), generator=generator)
    x, weight = x.contiguous(memory_format=of_x), weight.contiguous(memory_format=of_weight)

    exact = [t.double().requires_grad_() for t in (x, weight)]
    convolve = nn.functional.conv_transpose2d if transposed else nn.functional.conv2d
    y = convolve(*exact)
    g = torch.randn(y.shape, generator=generator)
    of_input, of_kernel = torch.autograd.grad(y, exact, g.double())

    for found, expected in (
        (fully_connected.input_gradient(g, weight, transposed=transposed), of_input),
        (fully_connected.weight_gradient(g, x, weight, transposed=transposed), of_kernel),
    ):
        assert found.shape == expected.shape
        assert torch.allclose(found.double(), expected, atol=1e-5, rtol=1e-5)


def layer(of: type[nn.Module], *words: object, **options: object) -> nn.Module:
    torch.manual_seed(0)
    return of(*words, **options).to(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("module", "space", "taken"),
    [
        (layer(nn.Conv2d, 6, 8, (4, 3)), (4, 3), True),
        (layer(nn.Conv2d, 6, 8, (4, 3), stride=2), (4, 3), True),
        (layer(nn.ConvTranspose2d, 6, 8, (4, 3), stride=(2, 1)), (1, 1), True),
        (layer(nn.Conv2d, 6, 8, (4, 3)), (5, 3), False),
        (layer(nn.Conv2d, 6, 8, 3, padding=1), (3, 3), False),
        (layer(nn.Conv2d, 6, 8, 3, groups=2), (3, 3), False),
        (layer(nn.Conv2d, 6, 8, 3, dilation=2), (5, 5), False),
        (layer(nn.ConvTranspose2d, 6, 8, 3), (2, 1), False),
        (layer(nn.ConvTranspose2d, 6, 8, 3, padding=1), (1, 1), False),
        (layer(nn.ConvTranspose2d, 6, 8, 3, stride=2, output_padding=1), (1, 1), False),
    ],
)
def test_a_frugal_layer_takes_it_where_it_fits(
    monkeypatch: pytest.MonkeyPatch, module: nn.Module, space: tuple[int, int], taken: bool
) -> None:
    calls: list[str] = []
    for name in ("input_gradient", "weight_gradient"):
        function = getattr(fully_connected, name)
        monkeypatch.setattr(
            fully_connected,
            name,
            lambda *t, _name=name, _function=function, **o: (
                calls.append(_name),
                _function(*t, **o),
            )[1],
        )
    x = torch.randn(2, 6, *space).contiguous(memory_format=torch.channels_last)

    def everything() -> list[Tensor]:
        inner = x.clone().requires_grad_()
        y = nn.functional.leaky_relu_(module(inner), 0.2)
        return [y.detach(), *torch.autograd.grad((y * y).sum(), [inner, *module.parameters()])]

    stock = everything()
    assert not calls
    with frugal(module):
        ours = everything()
    assert calls == (["input_gradient", "weight_gradient"] if taken else [])
    for one, other in zip(ours, stock, strict=True):
        assert one.is_contiguous(memory_format=torch.channels_last) or one.dim() != 4
        assert torch.allclose(one, other, atol=1e-5, rtol=1e-5)
