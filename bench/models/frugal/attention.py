"""Scaled-dot-product attention whose queries, keys and values are computed once more.

Torch's kernels keep q, k, v, the output and the logarithms of the softmax's sums; the attention
matrix itself is never kept. Where the layer that made q, k and v is frozen and can be run again
from what is kept anyway (see `bench.models.frugal.recipe`), nothing of that is kept here: a frozen
projection of a normalised input costs no more than the bytes of that input. Where it is trained,
torch's own kernels run, for q, k and v are needed and as large as the output of any trained layer.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from bench.models.frugal.autocast import Autocast
from bench.models.frugal.recipe import Recipe, Recipes, View


def recognise(module: nn.Module) -> bool:
    """Whether a module is an attention layer by the name of its class, or a subclass of one."""
    return any("Attention" in kind.__name__ for kind in type(module).__mro__)


class FrugalAttentions(TorchFunctionMode):
    """Context in which `F.scaled_dot_product_attention` saves as little as it can."""

    def __init__(self, recipes: Recipes) -> None:
        super().__init__()
        self._recipes = recipes

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        options = kwargs or {}
        if (
            func is F.scaled_dot_product_attention
            and len(args) == 3
            and options.get("attn_mask") is None
            and not options.get("dropout_p")
            and torch.is_grad_enabled()
        ):
            common = self._recipes.find_views(args)
            if common is not None and common[0].multiplies and None not in common[1]:
                return FrugalAttention.apply(*common, options, *args)
        return func(*args, **options)


class FrugalAttention(torch.autograd.Function):
    """(recipe, views, options, q, k, v) → (n, heads, tokens, width).

    q, k and v are these views of the tensor that the recipe makes.
    """

    @staticmethod
    def forward(
        ctx: Any,
        source: Recipe,
        views: list[View],
        options: dict[str, Any],
        q: Tensor,
        k: Tensor,
        v: Tensor,
    ) -> Tensor:
        attend = Autocast.now(q.device).wrap(partial(F.scaled_dot_product_attention, **options))
        ctx.attend, ctx.source = attend, source.without_tensors()
        ctx.views = views
        ctx.save_for_backward(*source.tensors)
        return attend(q, k, v)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast(g.device.type, enabled=False):
            base = ctx.source.compute(*ctx.saved_tensors)
        with torch.enable_grad():
            inputs = [view(base).detach().requires_grad_() for view in ctx.views]
            y = ctx.attend(*inputs)
        return (None, None, None, *torch.autograd.grad(y, inputs, g))
