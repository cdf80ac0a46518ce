"""The parts of the frugal pass: packed signs, and the adjoint of a convolution."""

import torch
from frugal_networks import convolution
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bench.models.frugal.activation import fills_memory, pack_signs, unpack_signs
from bench.models.frugal.convolution import Convolution


@given(
    st.lists(st.sampled_from([-2.0, -0.0, 0.0, 1e-30, 3.0]), min_size=1, max_size=40),
    st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
)
def test_signs_survive_packing(values: list[float], dtype: torch.dtype) -> None:
    y = torch.tensor(values, dtype=torch.float64).to(dtype)
    packed = pack_signs(y)
    assert packed.numel() == -(-len(values) // 8)
    assert torch.equal(unpack_signs(packed, y.shape, y.stride(), y.dtype) > 0, y > 0)


def test_signs_keep_the_layout() -> None:
    y = torch.randn(3, 5, 4, 2).to(memory_format=torch.channels_last)
    signs = unpack_signs(pack_signs(y), y.shape, y.stride(), y.dtype)
    assert signs.stride() == y.stride() and torch.equal(signs > 0, y > 0)
    assert fills_memory(y) and fills_memory(y[:1]) and fills_memory(y.transpose(1, 2))
    assert not fills_memory(y[:, :2]) and not fills_memory(y[:1].expand(3, 5, 4, 2))


@settings(max_examples=50)
@given(st.data())
def test_input_gradient_by_the_adjoint_convolution(data: st.DataObject) -> None:
    module, _ = convolution(data.draw, 4, transposed=data.draw(st.booleans()))
    module = module.double()
    assert isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    x = torch.randn(2, 4, 7, 6, dtype=torch.float64, requires_grad=True)
    module.padding_mode = "zeros"
    y = module(x)
    g = torch.randn_like(y)
    (expected,) = torch.autograd.grad(y, x, g)
    geometry = Convolution(
        stride=module.stride,
        padding=tuple(int(width) for width in module.padding),
        dilation=module.dilation,
        transposed=module.transposed,
        output_padding=module.output_padding,
        groups=module.groups,
    )
    assert geometry.output_numel(x.shape, module.weight) == y.numel()
    got = geometry.input_gradient(g, x.shape, module.weight.detach())
    torch.testing.assert_close(got, expected)
