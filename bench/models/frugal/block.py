"""Convolution → BatchNorm → activation as one step of the graph that keeps as little as it can.

A linear layer may stand in the convolution's place, without a BatchNorm.

What a block keeps for the backward pass, besides parameters, buffers and copies of them:

- its input x, where the convolution's weight is trained. If the block before it keeps its own z,
  x is computed from that once more instead;
- z, what is normalised, where BatchNorm uses batch statistics or its scale is trained. If the
  weight is not trained and x is at hand anyway, z is computed from x once more instead;
- for a (leaky) ReLU the sign of the output y, one bit each. Nothing where z is at hand, and y
  itself where a trained convolution comes next, which keeps it anyway.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bench.models.frugal.activation import Activation, fills_memory, pack_signs, unpack_signs
from bench.models.frugal.batchnorm import Normalisation
from bench.models.frugal.convolution import Convolution, channel_sum
from bench.models.frugal.linear import Linear
from bench.models.frugal.recipe import Recipe, Recomputed

_MOST_PRODUCTS = 1024
"""For an element of z, where it is computed once more: beyond, time is dearer than two bytes."""


@dataclass(frozen=True, kw_only=True)
class BlockCall:
    """One call of a block, without its tensors."""

    convolution: Convolution | Linear | None
    normalisation: Normalisation | None
    activation: Activation | None
    dtype: torch.dtype | None
    """What autocast makes a convolution compute in; None outside autocast."""
    folded: bool
    """Whether the normalisation, in evaluation mode, is part of the kernel and the bias."""
    output_is_kept: bool
    """Whether the next block is expected to keep the output for itself."""

    @property
    def is_bare(self) -> bool:
        """Whether it is a convolution or linear layer alone."""
        return self.normalisation is None and self.activation is None


@dataclass(frozen=True, kw_only=True)
class BlockValues:
    """The intermediate tensors of one call of a block."""

    x: Tensor
    """The input, of the type that the convolution computes in."""
    bias: Tensor | None
    """What the convolution adds, of that type."""
    z: Tensor
    first: Tensor | None
    second: Tensor | None
    """The statistics, see `Normalisation`."""
    y: Tensor


def evaluate(
    block: BlockCall,
    x: Tensor,
    kernel: Tensor | None,
    bias: Tensor | None,
    gamma: Tensor | None,
    beta: Tensor | None,
) -> BlockValues:
    """Run a block. `kernel` is the weight to convolve with: cast, and scaled where folded."""
    first = second = None
    if block.folded:
        bias = _folded_bias(block, bias, gamma, beta)
    z = x
    if block.convolution is not None:
        assert kernel is not None
        if block.dtype is not None:
            x = x.to(block.dtype)
            bias = None if bias is None else bias.to(block.dtype)
        z = block.convolution.forward(x, kernel, bias)
    y = z
    if block.normalisation is not None and not block.folded:
        y, first, second = block.normalisation.forward(z, gamma, beta)
    if block.activation is not None:
        act = block.activation
        y = act.forward(y) if y is x else act.forward_inplace(y)
    return BlockValues(x=x, bias=bias, z=z, first=first, second=second, y=y)


class FrugalBlock(torch.autograd.Function):
    """`evaluate` with a backward pass: (block, source, sink, x, weight, kernel, …) → y.

    `source` is the recipe of x, if there is one. If there is one of y, it is added to `sink`.
    """

    @staticmethod
    def forward(
        ctx: Any,
        block: BlockCall,
        source: Recipe | None,
        sink: list[Recipe],
        x: Tensor,
        weight: Tensor | None,
        kernel: Tensor | None,
        bias: Tensor | None,
        gamma: Tensor | None,
        beta: Tensor | None,
    ) -> Tensor:
        values = evaluate(block, x, kernel, bias, gamma, beta)
        of_x, of_weight, _, of_bias, of_gamma, _ = ctx.needs_input_grad[3:]
        norm = block.normalisation if not block.folded else None
        below = of_x or of_weight or of_bias
        needs_z = norm is not None and (of_gamma or (norm.of_batch and below))
        z_again = needs_z and not of_weight and _cheap_again(block, source, values, kernel)
        x_needed = of_weight or z_again

        kept: dict[str, Tensor | None] = {}
        if x_needed and source is None:
            kept["x"] = values.x
        if of_x or of_weight or z_again:
            kept["kernel"] = kernel
        if z_again:
            kept["bias"] = values.bias
        if needs_z and not z_again:
            kept["z"] = values.z
        if norm is not None:
            kept |= {"gamma": gamma, "beta": beta, "first": values.first, "second": values.second}
        elif block.folded and block.normalisation is not None:
            kept |= {"gamma": gamma, "second": block.normalisation.running_var}
        slot = None
        if block.activation is not None:
            if needs_z:
                slot = Recomputed()
            elif (
                block.activation.sign_suffices
                and not block.output_is_kept
                and fills_memory(values.y)
            ):
                kept["signs"] = pack_signs(values.y)
            else:
                kept["y"] = values.y
        if block.is_bare and not of_weight and source is not None:
            if _cheap_again(block, source, values, kernel):
                sink.append(_product_from_x(block, source, kernel, values.bias))
        elif "z" in kept and norm is not None:
            sink.append(
                Recipe(
                    tensors=(values.z, gamma, beta, values.first, values.second),
                    compute=lambda *tensors: _output_from_z(block, norm, *tensors),
                    slot=slot,
                )
            )

        from_source = source.tensors if source is not None and x_needed else ()
        ctx.save_for_backward(*kept.values(), *from_source)
        ctx.names = tuple(kept)
        ctx.block, ctx.slot, ctx.needs_z = block, slot, needs_z
        ctx.x_again = source.without_tensors() if source is not None and x_needed else None
        ctx.shape, ctx.dtype = x.shape, x.dtype
        ctx.layout = (values.y.shape, values.y.stride(), values.y.dtype)
        ctx.weight_dtype = None if weight is None else weight.dtype
        return values.y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast(g.device.type, enabled=False):
            return (None, None, None, *_backward(ctx, g))


def _cheap_again(
    block: BlockCall, source: Recipe | None, values: BlockValues, kernel: Tensor | None
) -> bool:
    """Whether to compute z once more from x rather than to keep it."""
    if block.convolution is None or kernel is None:
        return source is not None
    if source is not None and source.multiplies:
        return False
    if block.convolution.products_per_output(kernel) > _MOST_PRODUCTS:
        return False
    # Keeping x instead of z takes the next block's source away, so x has to be much smaller.
    return source is not None or 2 * values.x.nbytes <= values.z.nbytes


def _backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    """Gradients of x, weight, kernel, bias, gamma and beta; g is that of y."""
    block: BlockCall = ctx.block
    convolution, norm, act = block.convolution, block.normalisation, block.activation
    of_x, of_weight, _, of_bias, of_gamma, of_beta = ctx.needs_input_grad[3:]
    saved: tuple[Any, ...] = ctx.saved_tensors
    kept: dict[str, Any] = dict(zip(ctx.names, saved, strict=False))
    kernel: Any = kept.get("kernel")
    gamma: Any = kept.get("gamma")
    first: Any = kept.get("first")
    second: Any = kept.get("second")

    x: Any = kept.get("x")
    z: Any = kept.get("z")
    if ctx.x_again is not None:
        x = ctx.x_again.again(saved[len(ctx.names) :])
    if x is not None and block.dtype is not None:
        x = x.to(block.dtype)
    if ctx.needs_z and z is None:
        z = x if convolution is None else convolution.forward(x, kernel, kept["bias"])

    if act is not None:
        # y, or something that is positive where y is
        if "signs" in kept:
            y = unpack_signs(kept["signs"], *ctx.layout)
        elif "y" in kept:
            y = kept["y"]
        elif ctx.slot.value is not None:
            y, ctx.slot.value = ctx.slot.value, None
        else:
            assert norm is not None
            y = norm.again(z, gamma, kept["beta"], first, second)
            y = y if act.sign_suffices else act.forward_inplace(y)
        g = act.backward(g, y, torch.empty_like(y) if "y" in kept else y)
        del y

    scale: Tensor | None = None
    below: Tensor | None = g
    g_gamma: Tensor | None = None
    g_beta: Tensor | None = None
    if norm is not None and block.folded:
        scale = norm.scale(gamma, second)
        g_beta = channel_sum(g) if of_beta or of_bias else None
    elif norm is not None and ctx.needs_z:
        wanted = (of_x or of_weight or of_bias, of_gamma, of_beta)
        below, g_gamma, g_beta = norm.backward(g, z, gamma, first, second, wanted)
    elif norm is not None:
        g_beta = channel_sum(g) if of_beta else None
        if of_x or of_weight or of_bias:
            below = norm.scaled_gradient(g, gamma, second)
    del z

    g_weight: Tensor | None = None
    g_bias: Tensor | None = None
    if convolution is not None and below is not None:
        below, g_weight, g_bias = convolution.gradients(
            below,
            x,
            ctx.shape,
            kernel,
            of_input=of_x,
            of_weight=of_weight,
            of_bias=of_bias and scale is None,
        )
        if g_weight is not None:
            g_weight = g_weight.to(ctx.weight_dtype)
        if scale is not None:
            assert isinstance(convolution, Convolution)
            g_weight = None if g_weight is None else convolution.scaled(g_weight, scale)
            g_bias = g_beta * scale if of_bias and g_beta is not None else None
    g_x = below.to(ctx.dtype) if of_x and below is not None else None
    return g_x, g_weight, None, g_bias, g_gamma, g_beta if of_beta else None


def _product_from_x(
    block: BlockCall, source: Recipe, kernel: Tensor | None, bias: Tensor | None
) -> Recipe:
    """The recipe of a convolution's output alone; that of its input is `source`."""
    convolution, dtype, compute = block.convolution, block.dtype, source.compute
    assert convolution is not None

    def again(kernel: Tensor, bias: Tensor | None, *tensors: Tensor | None) -> Tensor:
        x = compute(*tensors)
        return convolution.forward(x if dtype is None else x.to(dtype), kernel, bias)

    bias = None if bias is None else bias.detach()
    return Recipe(tensors=(kernel, bias, *source.tensors), compute=again, multiplies=True)


def _output_from_z(
    block: BlockCall,
    norm: Normalisation,
    z: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    first: Tensor,
    second: Tensor,
) -> Tensor:
    y = norm.again(z, gamma, beta, first, second)
    return y if block.activation is None else block.activation.forward_inplace(y)


def _folded_bias(
    block: BlockCall, bias: Tensor | None, gamma: Tensor | None, beta: Tensor | None
) -> Tensor:
    norm = block.normalisation
    assert norm is not None and norm.running_mean is not None and norm.running_var is not None
    centred = -norm.running_mean if bias is None else bias - norm.running_mean
    shifted = centred * norm.scale(gamma, norm.running_var)
    return shifted if beta is None else shifted + beta
