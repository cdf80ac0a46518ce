"""Recipes: recompute an activation from tensors that the graph keeps anyway."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary


@dataclass
class Recomputed:
    """An activation that the next layer has recomputed, left for the layer that made it first."""

    value: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to recompute a layer's output from tensors that its graph keeps anyway."""

    tensors: tuple[Tensor | None, ...]
    compute: Callable[..., Tensor]
    """Takes the tensors; holds none of them."""
    slot: Recomputed | None = None
    """Where the layer wants to find the output; None if it has no use for it."""
    multiplies: bool = False
    """Whether it takes a matrix product or a convolution. No recipe is built on such a one."""

    def without_tensors(self) -> "Recipe":
        """The recipe without its tensors, for the graph to hold; they come back from the graph."""
        return replace(self, tensors=())

    def again(self, tensors: tuple[Tensor | None, ...]) -> Tensor:
        """The activation, computed for the caller and for the layer that made it."""
        if self.slot is None:
            return self.compute(*tensors)
        if self.slot.value is None:
            self.slot.value = self.compute(*tensors)
        return self.slot.value


class Recipes:
    """The recipes of the activations that are alive, and of views of them."""

    def __init__(self) -> None:
        self._known = WeakTensorKeyDictionary()

    def add(self, y: Tensor, recipe: Recipe) -> None:
        self._known[_owner(y)] = _Entry(y._version, View.of(y), recipe)

    def find(self, x: Tensor) -> Recipe | None:
        """The recipe of x; None after a change in place."""
        views = self.find_views([x])
        if views is None:
            return None
        recipe, (view,) = views
        if view is None:
            return recipe
        compute = recipe.compute
        return replace(recipe, compute=lambda *tensors: view(compute(*tensors)), slot=None)

    def find_views(self, views: Sequence[Tensor]) -> tuple[Recipe, list["View | None"]] | None:
        """The recipe of the tensor that all of these are views of, and where they lie in it.

        The place is None for the whole of it.
        """
        owner = _owner(views[0])
        if owner not in self._known:
            return None
        entry: _Entry = self._known[owner]
        if entry.version != owner._version:
            return None
        if any(_owner(x) is not owner or x.dtype != owner.dtype for x in views):
            return None
        places = [View.of(x) for x in views]
        whole = entry.place
        return entry.recipe, [None if v == whole else v.within(whole) for v in places]


def _owner(x: Tensor) -> Tensor:
    return x if x._base is None else x._base


@dataclass(frozen=True)
class View:
    """Position of a tensor's elements in memory."""

    shape: torch.Size
    stride: tuple[int, ...]
    offset: int
    whole_stride: tuple[int, ...] = ()
    """That of the tensor that it is a view of."""

    @staticmethod
    def of(x: Tensor) -> "View":
        return View(x.shape, x.stride(), int(x.storage_offset()))

    def within(self, whole: "View") -> "View":
        """The same place relative to that of another tensor."""
        return replace(self, offset=self.offset - whole.offset, whole_stride=whole.stride)

    def __call__(self, whole: Tensor) -> Tensor:
        """The view of another tensor of the whole's shape."""
        if whole.stride() != self.whole_stride or whole.storage_offset() != 0:
            laid_out = torch.empty_strided(
                whole.shape, self.whole_stride, dtype=whole.dtype, device=whole.device
            )
            whole = laid_out.copy_(whole)
        return whole.as_strided(self.shape, self.stride, self.offset)


@dataclass(frozen=True)
class _Entry:
    version: int
    place: View
    recipe: Recipe
