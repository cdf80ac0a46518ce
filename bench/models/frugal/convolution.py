"""Convolutions as plain functions: forward, scaling of the weight, the gradients asked for."""

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize

from bench.models.frugal import fully_connected, weight_gradient

_FORWARDS = {
    kind.forward: (kind, dimensions)
    for kind, dimensions in (
        (nn.Conv1d, 1),
        (nn.Conv2d, 2),
        (nn.Conv3d, 3),
        (nn.ConvTranspose1d, 1),
        (nn.ConvTranspose2d, 2),
        (nn.ConvTranspose3d, 3),
    )
}


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """Geometry of a (transposed) convolution, as `aten::convolution` takes it."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    transposed: bool
    output_padding: tuple[int, ...]
    groups: int

    @property
    def dimensions(self) -> int:
        """Number of spatial axes."""
        return len(self.stride)

    def admits(self, shape: torch.Size) -> bool:
        """Whether an input has as many axes as a batch has."""
        return len(shape) == self.dimensions + 2

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """x (n, in, *space), weight as torch lays it out, bias (out,) → (n, out, *space)."""
        return torch.convolution(
            x,
            weight,
            bias,
            self.stride,
            self.padding,
            self.dilation,
            self.transposed,
            self.output_padding,
            self.groups,
        )

    def output_numel(self, shape: torch.Size, weight: Tensor) -> int:
        """Number of elements of the output for an input of this shape."""
        size = shape[0] * (weight.shape[1] * self.groups if self.transposed else weight.shape[0])
        for axis in range(self.dimensions):
            reach = self.dilation[axis] * (weight.shape[2 + axis] - 1)
            if self.transposed:
                last = (shape[2 + axis] - 1) * self.stride[axis] - 2 * self.padding[axis]
                size *= last + reach + self.output_padding[axis] + 1
            else:
                last = shape[2 + axis] + 2 * self.padding[axis] - reach - 1
                size *= last // self.stride[axis] + 1
        return size

    def products_per_output(self, weight: Tensor) -> int:
        """Multiplications for one element of the output, inside the border."""
        if not self.transposed:
            return weight[0].numel()
        inputs = weight.shape[0] // self.groups
        return inputs * weight[0, 0].numel() // prod(self.stride)

    def scaled(self, weight: Tensor, scale: Tensor) -> Tensor:
        """The weight times a factor for each output channel, scale (out,)."""
        ones = (1,) * self.dimensions
        if not self.transposed:  # (out, in / groups, *kernel)
            return weight * scale.view(-1, 1, *ones)
        # (in, out / groups, *kernel); the input channels of a group are consecutive
        grouped = weight.view(self.groups, -1, *weight.shape[1:])
        scaled: Tensor = grouped * scale.view(self.groups, 1, -1, *ones)
        return scaled.flatten(0, 1)

    def gradients(
        self,
        g: Tensor,
        x: Tensor | None,
        shape: torch.Size,
        weight: Tensor,
        *,
        of_input: bool,
        of_weight: bool,
        of_bias: bool,
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Gradients of the input, of this shape, of weight and bias, as far as asked for.

        Only the weight's needs the input x itself.
        """
        if (of_input or of_weight) and self._is_fully_connected(shape, weight):
            return self._products(g, x if of_weight else None, weight, of_input, of_bias)
        g_weight = self._by_taps(g, x, weight) if of_weight and x is not None else None
        of_weight = of_weight and g_weight is None
        g_bias = channel_sum(g) if of_bias and not of_weight else None
        if not of_input and not of_weight:
            return None, g_weight, g_bias
        if x is None or not of_weight:
            if g.device.type != "cpu":
                return self.input_gradient(g, shape, weight), g_weight, g_bias
            # The backward operator looks at no more than the shape and layout of the input here.
            # An untouched tensor is free on the CPU, where `input_gradient` is slow for large
            # weights, which the transposed convolution puts into another order.
            layout = torch.contiguous_format
            if g.dim() == 4 and g.is_contiguous(memory_format=torch.channels_last):
                layout = torch.channels_last
            x = torch.empty(shape, dtype=g.dtype, device=g.device, memory_format=layout)
        gradients = torch.ops.aten.convolution_backward(
            g,
            x,
            weight,
            [g.shape[1]],
            self.stride,
            self.padding,
            self.dilation,
            self.transposed,
            self.output_padding,
            self.groups,
            [of_input, of_weight, of_bias and of_weight],
        )
        g_input, g_whole, g_sum = gradients
        return (
            g_input,
            g_whole if g_weight is None else g_weight,
            g_sum if g_bias is None else g_bias,
        )

    def _products(
        self, g: Tensor, x: Tensor | None, weight: Tensor, of_input: bool, of_bias: bool
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """`gradients` of a fully connected layer; the weight's if x is given."""
        g_input = g_weight = None
        if of_input:
            g_input = fully_connected.input_gradient(g, weight, transposed=self.transposed)
        if x is not None:
            g_weight = fully_connected.weight_gradient(g, x, weight, transposed=self.transposed)
        return g_input, g_weight, channel_sum(g) if of_bias else None

    def _is_fully_connected(self, shape: torch.Size, weight: Tensor) -> bool:
        return fully_connected.applies(
            shape,
            weight,
            padding=self.padding,
            dilation=self.dilation,
            transposed=self.transposed,
            output_padding=self.output_padding,
            groups=self.groups,
        )

    def _by_taps(self, g: Tensor, x: Tensor, weight: Tensor) -> Tensor | None:
        """The gradient of the weight, where it is quicker so; else None."""
        if self.transposed or not weight_gradient.applies(g, x, weight, groups=self.groups):
            return None
        return weight_gradient.by_taps(
            g,
            x,
            weight.shape[2:],
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
        )

    def input_gradient(self, g: Tensor, shape: torch.Size, weight: Tensor) -> Tensor:
        """The gradient of an input of this shape as a convolution: transposed where the
        forward one is plain, plain where it is transposed.
        """
        output_padding = [0] * self.dimensions
        if not self.transposed:
            for axis, kernel in enumerate(weight.shape[2:]):
                reached = (g.shape[2 + axis] - 1) * self.stride[axis] + 1
                reached += self.dilation[axis] * (kernel - 1) - 2 * self.padding[axis]
                output_padding[axis] = shape[2 + axis] - reached
        return torch.convolution(
            g,
            weight,
            None,
            self.stride,
            self.padding,
            self.dilation,
            not self.transposed,
            output_padding,
            self.groups,
        )


def recognise(module: nn.Module) -> Convolution | None:
    """The geometry of a stock convolution with zero padding; None for anything else."""
    kind, dimensions = _FORWARDS.get(type(module).forward, (None, 0))
    if kind is None or not isinstance(module, _ConvNd):
        return None
    if module.padding_mode != "zeros" or isinstance(module.padding, str):
        return None
    for helper in ("_conv_forward", "_output_padding"):
        if getattr(type(module), helper, None) is not getattr(kind, helper, None):
            return None
    assert len(module.stride) == dimensions
    return Convolution(
        stride=module.stride,
        padding=module.padding,
        dilation=module.dilation,
        transposed=module.transposed,
        output_padding=module.output_padding,
        groups=module.groups,
    )


def weight_is_trained(module: nn.Module) -> bool:
    """Whether a convolution's weight, or what it is computed from, requires a gradient."""
    if parametrize.is_parametrized(module, "weight"):
        parametrizations = module.get_submodule("parametrizations.weight")
        return any(p.requires_grad for p in parametrizations.parameters())
    return isinstance(module.weight, Tensor) and module.weight.requires_grad


def channel_sum(g: Tensor) -> Tensor:
    """Sum over all axes but the second: (n, channels, *space) → (channels,), single or double.

    On a CPU sums of bfloat16 are accumulated in single precision and rounded to bfloat16, as torch
    rounds the gradient of a bias.
    """
    if (
        g.device.type == "cpu"
        and g.dtype == torch.bfloat16
        and g.dim() == 4
        and g.is_contiguous(memory_format=torch.channels_last)
    ):
        # A matrix product with ones is five times as fast as the sum
        rows = g.permute(0, 2, 3, 1).flatten(0, 2)
        return (rows.new_ones(1, len(rows)) @ rows)[0].float()
    axes = [axis for axis in range(g.dim()) if axis != 1]
    dtype = torch.float32 if g.dtype.itemsize < 4 else g.dtype
    return g.sum(axes, dtype=dtype)
