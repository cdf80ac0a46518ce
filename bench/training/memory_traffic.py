"""Memory traffic of a computation, whatever the hardware: bytes moved, bytes alive."""

import weakref
from collections.abc import Iterator
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Traffic(TorchDispatchMode):
    """Context that counts the tensor operations inside it.

    `moved_bytes`: inputs read and outputs written by each operation, as if none were fused and
    nothing cached; views are free. `peak_bytes`: the most that was alive at once of what was
    allocated inside, which excludes what was there before.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch does not annotate it
        self.moved_bytes = 0
        self.peak_bytes = 0
        self._alive: dict[int, int] = {}
        self._total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        inputs = list(_tensors((args, kwargs)))
        known = {tensor.untyped_storage()._cdata for tensor in inputs}
        fresh = [t for t in _tensors(out) if t.untyped_storage()._cdata not in known]
        if fresh or func._schema.is_mutable:
            self.moved_bytes += sum(_size(t) for t in inputs) + sum(_size(t) for t in fresh)
        for tensor in fresh:
            self._watch(tensor)
        return out

    def _watch(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._alive:
            return
        self._alive[key] = storage.nbytes()
        self._total += storage.nbytes()
        self.peak_bytes = max(self.peak_bytes, self._total)
        weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self._total -= self._alive.pop(key, 0)


def _tensors(tree: object) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
