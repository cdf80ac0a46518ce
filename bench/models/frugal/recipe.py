"""How to compute an activation once more from tensors that the graph keeps anyway."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary


@dataclass
class Slot:
    """What the next layer computed once more, left here for the layer that made it first."""

    value: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to compute a layer's output once more from tensors that its graph keeps anyway."""

    tensors: tuple[Tensor | None, ...]
    compute: Callable[..., Tensor]
    """Takes the tensors; holds none of them."""
    slot: Slot | None = None
    """Where the layer wants to find the output; None if it has no use for it."""
    multiplies: bool = False
    """Whether it takes a matrix product or a convolution. No recipe is built on such a one."""

    def without_tensors(self) -> "Recipe":
        """What the graph may hold on to; the tensors come back from it."""
        return replace(self, tensors=())

    def again(self, tensors: tuple[Tensor | None, ...]) -> Tensor:
        """The activation, computed for the caller and for the layer that made it."""
        if self.slot is None:
            return self.compute(*tensors)
        if self.slot.value is None:
            self.slot.value = self.compute(*tensors)
        return self.slot.value


class Recipes:
    """The recipes of the activations that are alive."""

    def __init__(self) -> None:
        self._known = WeakTensorKeyDictionary()

    def add(self, y: Tensor, recipe: Recipe) -> None:
        self._known[y] = (recipe, y._version)

    def find(self, x: Tensor) -> Recipe | None:
        """The recipe of x, or of the tensor that x is a view of; None after a change in place."""
        base = x if x in self._known else x._base
        if base is None or base not in self._known:
            return None
        recipe: Recipe
        recipe, version = self._known[base]
        if version != base._version:
            return None
        if base is x:
            return recipe
        if x.dtype != base.dtype:
            return None
        view, compute = View.of(x, base), recipe.compute
        return replace(recipe, compute=lambda *tensors: view(compute(*tensors)), slot=None)


@dataclass(frozen=True)
class View:
    """Where the elements of a view lie in its base."""

    base_stride: tuple[int, ...]
    shape: torch.Size
    stride: tuple[int, ...]
    offset: int

    @staticmethod
    def of(x: Tensor, base: Tensor) -> "View":
        return View(
            base.stride(), x.shape, x.stride(), int(x.storage_offset() - base.storage_offset())
        )

    def __call__(self, base: Tensor) -> Tensor:
        """The same view of another tensor of the base's shape."""
        if base.stride() != self.base_stride or base.storage_offset() != 0:
            laid_out = torch.empty_strided(
                base.shape, self.base_stride, dtype=base.dtype, device=base.device
            )
            base = laid_out.copy_(base)
        return base.as_strided(self.shape, self.stride, self.offset)
