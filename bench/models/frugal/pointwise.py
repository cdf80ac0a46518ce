"""Elementwise functions whose gradient needs their input: GELU, and the StarReLU of MetaFormers.

Torch keeps the input for the function and the output for a trained layer behind it; of the steps
of a StarReLU it keeps each. Here the input is kept alone, since the output can be computed from it
once more; or nothing, where the input itself can be computed from what is kept.

The input must be known where its maker is trained: the slope takes a continuum of values, so signs
do not do as they do for a ReLU, and GELU falls before it rises, so its output does not tell the
input. Fewer bits than the input has would not give the gradients of torch.

StarReLU: Yu et al. 2022, MetaFormer Baselines for Vision, arXiv:2210.13452.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from bench.models.frugal.autocast import Autocast
from bench.models.frugal.layers import has_hooks
from bench.models.frugal.recipe import Recipe
from bench.models.frugal.timm_layers import timm_forward

Gradients = tuple[Tensor | None, ...]


@dataclass(frozen=True, kw_only=True)
class Pointwise:
    """An elementwise function y = f(x; parameters)."""

    parameters: Callable[[], tuple[Tensor, ...]]
    """What the function computes with now."""
    forward: Callable[..., Tensor]
    """x, *parameters → y."""
    backward: Callable[..., Gradients]
    """Which gradients are wanted, gradient of y, x, *parameters → gradients of x and parameters."""


def recognise(module: nn.Module) -> Pointwise | None:
    """The function of a GELU or StarReLU; None for anything else."""
    if isinstance(module, nn.GELU) and type(module).forward is nn.GELU.forward:
        return _gelu(module.approximate)
    if type(module).forward is timm_forward("models.metaformer", "StarReLU"):
        relu = module.relu
        if type(relu) is nn.ReLU and not relu.inplace and not has_hooks(relu):
            return Pointwise(
                parameters=lambda: (module.get_parameter("scale"), module.get_parameter("bias")),
                forward=_star_relu,
                backward=_star_relu_backward,
            )
    return None


def _gelu(approximate: str) -> Pointwise:
    return Pointwise(
        parameters=tuple,
        forward=lambda x: F.gelu(x, approximate=approximate),
        backward=lambda wanted, g, x: (
            torch.ops.aten.gelu_backward(g, x, approximate=approximate),
        ),
    )


def _star_relu(x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """scale · relu(x)² + bias, scale and bias (1,)."""
    return scale * torch.relu(x) ** 2 + bias


def _star_relu_backward(
    wanted: tuple[bool, ...], g: Tensor, x: Tensor, scale: Tensor, bias: Tensor
) -> Gradients:
    of_x, of_scale, of_bias = wanted
    positive = torch.relu(x)
    weighted = positive * g
    return (
        (weighted * (2 * scale)).to(x.dtype) if of_x else None,
        (weighted * positive).sum().view(1) if of_scale else None,
        g.sum().view(1) if of_bias else None,
    )


class FrugalPointwise(torch.autograd.Function):
    """A `Pointwise` with a backward pass: (pointwise, source, sink, x, *parameters) → y.

    `source` is the recipe of x, if there is one. If there is one of y, it is added to `sink`.
    """

    @staticmethod
    def forward(
        ctx: Any,
        pointwise: Pointwise,
        source: Recipe | None,
        sink: list[Recipe],
        x: Tensor,
        *parameters: Tensor,
    ) -> Tensor:
        autocast = Autocast.now(x.device)
        if source is None:
            sink.append(
                Recipe(
                    tensors=(x.detach(), *(p.detach() for p in parameters)),
                    compute=autocast.wrap(pointwise.forward),
                )
            )
        ctx.pointwise, ctx.count = pointwise, len(parameters)
        ctx.x_again = None if source is None else source.without_tensors()
        ctx.save_for_backward(*parameters, *((x,) if source is None else source.tensors))
        return pointwise.forward(x, *parameters)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Gradients:
        saved: tuple[Any, ...] = ctx.saved_tensors
        parameters, kept = saved[: ctx.count], saved[ctx.count :]
        with torch.autocast(g.device.type, enabled=False):
            x = kept[0] if ctx.x_again is None else ctx.x_again.again(kept)
            wanted = ctx.needs_input_grad[3:]
            return (None, None, None, *ctx.pointwise.backward(wanted, g, x, *parameters))
