"""Layer normalisation that keeps its normalised input x̂ instead of its input and its output.

With x̂ = (x - mean) / σ and y = γ x̂ + β,

    dx = (γ g - ⟨γ g⟩ - x̂ ⟨x̂ γ g⟩) / σ,    dγ = Σ x̂ g,    dβ = Σ g,

so x̂ and 1/σ are enough, and what a trained layer behind it needs, y, is computed from x̂. Less than
one number an element is impossible if a gradient is to reach x or γ: both gradients depend on every
element of x̂. Torch keeps x, and y for a trained layer; under autocast x is mostly in single
precision, while x̂, which is of order one, is kept in autocast's type.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from bench.models.frugal.autocast import Autocast
from bench.models.frugal.recipe import Recipe
from bench.models.frugal.timm_layers import timm_forward


@dataclass(frozen=True)
class LayerNorm:
    """Normalisation over the last axes, or over the channels of images (n, channels, z, x)."""

    shape: tuple[int, ...]
    eps: float
    of_images: bool

    def admits(self, shape: torch.Size) -> bool:
        """Whether an input has the axes that are normalised, and others before them."""
        if self.of_images:
            return len(shape) == 4 and shape[1:2] == self.shape
        return len(shape) > len(self.shape) and shape[-len(self.shape) :] == self.shape


def recognise(module: nn.Module) -> LayerNorm | None:
    """What a LayerNorm of torch or timm does; None for anything else."""
    if not isinstance(module, nn.LayerNorm):
        return None
    forward = type(module).forward
    of_images = forward is timm_forward("layers.norm", "LayerNorm2d")
    of_timm = of_images or forward is timm_forward("layers.norm", "LayerNorm")
    if not of_timm and forward is not nn.LayerNorm.forward:
        return None
    if of_timm and module._fast_norm:
        return None
    return LayerNorm(tuple(module.normalized_shape), module.eps, of_images)


class FrugalLayerNorm(torch.autograd.Function):
    """(norm, sink, x, γ, β) → y, normalised over the last axes; the recipe of y goes to `sink`."""

    @staticmethod
    def forward(
        ctx: Any,
        norm: LayerNorm,
        sink: list[Recipe],
        x: Tensor,
        gamma: Tensor | None,
        beta: Tensor | None,
    ) -> Tensor:
        y = F.layer_norm(x, norm.shape, gamma, beta, norm.eps)
        of_x, of_gamma, _ = ctx.needs_input_grad[2:]
        ctx.norm, ctx.dtype = norm, x.dtype
        if not of_x and not of_gamma:
            ctx.save_for_backward()
            return y
        # Wide, because half-precision input without γ would have half-precision statistics.
        normalised, _, inverse_deviation = torch.native_layer_norm(
            _wide(x), norm.shape, None, None, norm.eps
        )
        narrow = Autocast.now(x.device).dtype if y.dtype != torch.float64 else None
        kept = normalised.to(narrow or y.dtype)
        ctx.save_for_backward(kept, inverse_deviation if of_x else None, gamma)
        dtype = y.dtype
        sink.append(
            Recipe(
                tensors=(kept, *(None if p is None else p.detach() for p in (gamma, beta))),
                compute=lambda *tensors: _affine(*tensors).to(dtype),
            )
        )
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        norm: LayerNorm = ctx.norm
        of_x, of_gamma, of_beta = ctx.needs_input_grad[2:]
        if not of_x and not of_gamma:
            return None, None, None, None, g.flatten(0, -1 - len(norm.shape)).sum(0)
        normalised, inverse_deviation, gamma = ctx.saved_tensors
        with torch.autocast(g.device.type, enabled=False):
            g, normalised = _wide(g).contiguous(), _wide(normalised)
            statistics = (*g.shape[: -len(norm.shape)], *[1] * len(norm.shape))
            # The operator normalises what it is given: x̂ has mean 0 and 1/σ = 1.
            g_x, g_gamma, g_beta = torch.ops.aten.native_layer_norm_backward(
                g,
                normalised,
                norm.shape,
                g.new_zeros(statistics),
                g.new_ones(statistics),
                None if gamma is None else gamma.to(g.dtype),
                None if gamma is None else torch.empty_like(gamma, dtype=g.dtype),
                [of_x, of_gamma, of_beta],
            )
            if of_x:
                g_x = g_x.mul_(inverse_deviation).to(ctx.dtype)
        return None, None, g_x if of_x else None, g_gamma, g_beta


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.dtype.itemsize < 4 else x


def _affine(normalised: Tensor, gamma: Tensor | None, beta: Tensor | None) -> Tensor:
    y = _wide(normalised)
    y = y if gamma is None else y * gamma
    return y if beta is None else y + beta
