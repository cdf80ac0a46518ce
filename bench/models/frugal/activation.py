"""Activations whose gradient can be read off their output, or off its sign packed into bits."""

import struct
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_aten = torch.ops.aten

# Eight bytes of 0 or 1, read as one little-endian integer: the product collects them in the top
# byte. On the way back every byte of the integer keeps its own bit.
_COLLECT = 0x0102040810204080
_SPREAD = 0x0101010101010101
_OWN_BIT = struct.unpack("<q", bytes(1 << bit for bit in range(8)))[0]


@dataclass(frozen=True, kw_only=True)
class Activation:
    """An elementwise function y = f(x)."""

    forward: Callable[[Tensor], Tensor]
    forward_inplace: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor, Tensor], Tensor]
    """(gradient of y, y, where to write) → gradient of x; may write over y."""
    sign_suffices: bool
    """Whether anything that is positive where y is does for y in `backward`."""


_TANH = Activation(
    forward=torch.tanh,
    forward_inplace=torch.tanh_,
    backward=lambda g, y, out: _aten.tanh_backward.grad_input(g, y, grad_input=out),
    sign_suffices=False,
)
_SIGMOID = Activation(
    forward=torch.sigmoid,
    forward_inplace=torch.sigmoid_,
    backward=lambda g, y, out: _aten.sigmoid_backward.grad_input(g, y, grad_input=out),
    sign_suffices=False,
)
_RELU = Activation(
    forward=torch.relu,
    forward_inplace=torch.relu_,
    backward=lambda g, y, out: _aten.threshold_backward.grad_input(g, y, 0, grad_input=out),
    sign_suffices=True,
)


def _leaky(slope: float) -> Activation:
    return Activation(
        forward=lambda x: F.leaky_relu(x, slope),
        forward_inplace=lambda x: F.leaky_relu_(x, slope),
        backward=lambda g, y, out: _aten.leaky_relu_backward.grad_input(
            g, y, slope, True, grad_input=out
        ),
        sign_suffices=True,
    )


def recognise(module: nn.Module) -> Activation | None:
    """The function of a stock activation module; None for anything else.

    A leaky ReLU of negative slope is left out: its output does not tell the input's sign.
    """
    forward = type(module).forward
    if forward is nn.LeakyReLU.forward and isinstance(module, nn.LeakyReLU):
        return _leaky(module.negative_slope) if module.negative_slope >= 0 else None
    stock = {nn.ReLU.forward: _RELU, nn.Tanh.forward: _TANH, nn.Sigmoid.forward: _SIGMOID}
    return stock.get(forward)


def pack_signs(y: Tensor) -> Tensor:
    """Pack the signs of y: one bit per element, set where y > 0, in memory order.

    y must fill its memory without gaps (contiguous or channels-last); returns bytes (⌈numel / 8⌉,).
    """
    flat = y.as_strided((y.numel(),), (1,))
    flags = torch.empty(-(-y.numel() // 8) * 8, dtype=torch.uint8, device=y.device)
    flags[y.numel() :] = 0
    if y.dtype.itemsize == 2:
        # Floating-point numbers compare with zero as integers do, and three times as fast.
        flags[: y.numel()].copy_(flat.view(torch.int16).clamp(0, 1))
    else:
        torch.gt(flat, 0, out=flags[: y.numel()].view(torch.bool))
    words = flags.view(torch.int64).mul_(_COLLECT).bitwise_right_shift_(56)
    return words.to(torch.uint8)


def unpack_signs(
    packed: Tensor, shape: torch.Size, stride: tuple[int, ...], dtype: torch.dtype
) -> Tensor:
    """A tensor of y's shape, stride and type, positive where y was and zero elsewhere."""
    words = packed.to(torch.int64).mul_(_SPREAD).bitwise_and_(_OWN_BIT)
    flat = words.view(torch.uint8)[: shape.numel()].to(dtype)
    return flat.as_strided(shape, stride)


def fills_memory(y: Tensor) -> bool:
    """Whether a tensor's elements lie in memory without gaps or overlaps."""
    expected = 1
    for stride, size in sorted(zip(y.stride(), y.shape, strict=True)):
        if size == 1:
            continue
        if stride != expected:
            return False
        expected *= size
    return True
