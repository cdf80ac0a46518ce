"""Bytes that autograd keeps between forward and backward pass, counted on any device.

The count does not depend on hardware or allocator: all distinct storages that are saved for the
backward pass, whole, except those of the model's parameters and buffers. Activations, masks and
copies of weights in another type count; so does the network's input where it is saved.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor


def saved_bytes(forward: Callable[[], object], *, resident: Iterable[Tensor]) -> int:
    """Bytes that a forward pass saves for the backward pass.

    `forward` runs it; its result is kept until the count is done. `resident` are tensors that are
    there anyway: parameters, buffers, and whatever else is not to be counted.
    """
    there = {tensor.untyped_storage().data_ptr() for tensor in resident}
    saved: dict[int, int] = {}
    alive: list[object] = []  # an address may be used again once its storage is freed

    def pack(tensor: Tensor) -> Tensor:
        kept = tensor.detach()  # the result itself would hold its graph, and the graph the result
        alive.append(kept)
        storage = kept.untyped_storage()
        if storage.data_ptr() not in there:
            saved[storage.data_ptr()] = storage.nbytes()
        return kept

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        alive.append(forward())
    alive.clear()  # the graph holds `pack` and `pack` this list, out of the collector's sight
    return sum(saved.values())


def saved_bytes_per_sample(
    forward: Callable[[int], object], *, resident: Iterable[Tensor], samples: int = 2
) -> float:
    """Bytes that each further sample of a batch makes a forward pass save.

    `forward` runs one over a batch of the size it is given; it is called for `samples` and twice
    as many. The difference leaves out what is saved once a batch, such as casts of weights.
    """
    there = list(resident)
    few = saved_bytes(lambda: forward(samples), resident=there)
    many = saved_bytes(lambda: forward(2 * samples), resident=there)
    return (many - few) / samples
