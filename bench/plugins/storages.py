"""Tensors by the memory they lie in: a parameter under a new name is still the same parameter."""

from collections import defaultdict
from collections.abc import Iterable

from torch import Tensor


class Storages:
    """The memory of some tensors: ``tensor in storages`` says whether one lies in it, in part."""

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        self._kept = list(tensors)  # so that no address is used again
        self._spans: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for tensor in self._kept:
            self._spans[_storage(tensor)].append(_span(tensor))

    def __contains__(self, tensor: Tensor) -> bool:
        begin, end = _span(tensor)
        spans = self._spans.get(_storage(tensor), ())
        return any(begin < other_end and other_begin < end for other_begin, other_end in spans)


def _storage(tensor: Tensor) -> int:
    """Identifies a storage on any device, the meta device included."""
    return int(tensor.untyped_storage()._cdata)


def _span(tensor: Tensor) -> tuple[int, int]:
    """First byte of a tensor in its storage, and the one after its last."""
    begin, size = int(tensor.storage_offset()), tensor.element_size()
    if not tensor.numel():
        return begin * size, begin * size
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    last = begin + sum((length - 1) * int(stride) for length, stride in steps)
    return begin * size, (last + 1) * size
