"""Processes that train one network together, and what they exchange.

Whoever starts them (torchrun, Slurm) says in the environment how many there are: `RANK`,
`WORLD_SIZE`, `MASTER_ADDR` and `MASTER_PORT`, as `torch.distributed` reads them.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous
from torch.nn.functional import pad

from bench.errors import BenchError

_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_PATIENCE = timedelta(days=7)
"""How long processes wait for the first one, which may be simulating data."""

T = TypeVar("T")


class PeerLostError(BenchError):
    """Another process of the group has ended or cannot be reached."""


@dataclass(frozen=True)
class Group:
    """This process's place among those that train together; alone by default."""

    rank: int = 0
    size: int = 1
    control: dist.ProcessGroup | None = None
    """Carries messages on the CPU, whatever device the tensors of `sum` are on."""

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes files and decides what is done."""
        return self.rank == 0

    def share(self, value: T | None = None) -> T | None:
        """The leader's value, in every process. Raises `PeerLostError`."""
        if self.size == 1:
            return value
        box = [value if self.leads else None]
        with _peers():
            dist.broadcast_object_list(box, src=0, group=self.control)
        return box[0]

    def gather(self, value: T) -> list[T]:
        """The values of all processes, in every process. Raises `PeerLostError`."""
        if self.size == 1:
            return [value]
        values: list[T | None] = [None] * self.size
        with _peers():
            dist.all_gather_object(values, value, group=self.control)
        return [other for other in values if other is not None]

    def sum(self, vector: Tensor) -> Tensor:
        """The sum (n,) of all processes' vectors (n,), in the order of `tree_sum`.

        Each process adds up one part of the vector and sends it to the others, so that traffic is
        that of an all-reduce: about twice the vector, whatever the number of processes. Raises
        `PeerLostError`.
        """
        if self.size == 1:
            return vector
        part = -(-len(vector) // self.size)
        sent = pad(vector, (0, part * self.size - len(vector)))
        received, whole = torch.empty_like(sent), torch.empty_like(sent)
        with _peers():
            dist.all_to_all_single(received, sent)
            parts = received.view(self.size, part)
            mine = tree_sum(lambda rank: parts[rank], 0, self.size)
            dist.all_gather(list(whole.split(part)), mine)
        return whole[: len(vector)]


def tree_sum(value: Callable[[int], Tensor], first: int, count: int) -> Tensor:
    """value(first) + … + value(first + count - 1), halves first; `count` is a power of two.

    The sum of aligned halves, quarters and so on is one of its intermediate results, so that it
    does not matter where the sum is cut among processes. Values are asked for in order, and about
    log2(count) of them are held at a time.
    """
    if count == 1:
        return value(first)
    half = count // 2
    return tree_sum(value, first, half) + tree_sum(value, first + half, half)


def world_size() -> int | None:
    """Number of processes that torchrun or Slurm has started together; None outside of them."""
    if any(name not in os.environ for name in _VARIABLES):
        return None
    return int(os.environ["WORLD_SIZE"])


def local_world_size() -> int | None:
    """Number of these processes on this machine, as torchrun sets it; None where it does not."""
    number = os.environ.get("LOCAL_WORLD_SIZE")
    return int(number) if number else None


@contextmanager
def joined(device: torch.device) -> Iterator[Group]:
    """Context in which this process belongs to the group that was started; alone if there is none.

    On GPUs the process works on that of its `LOCAL_RANK`, and NCCL carries the tensors; gloo does
    on CPUs. When the leader leaves without an error, it tells the others, who get None from
    `share`. Raises `PeerLostError` where the others cannot be reached.
    """
    if world_size() in (None, 1):
        yield Group()
        return
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    with _peers():
        store, rank, size = _rendezvous()
        backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size)
        control = dist.new_group(backend="gloo", timeout=_PATIENCE)
    assert isinstance(control, dist.ProcessGroup)
    group = Group(rank, size, control)
    try:
        yield group
        if group.leads:
            with suppress(PeerLostError):
                group.share()
    finally:
        dist.destroy_process_group()


def _rendezvous() -> tuple[Store, int, int]:
    """The store in which processes find each other, this one's rank, and their number.

    torchrun keeps one store for all its restarts (pytorch/pytorch issue 135712), in which processes
    would find the addresses of dead ones. On one node its count of restarts tells the tries apart;
    on several it does not, and torchrun has to be told (docs/SCALING.md).
    """
    store, rank, size = next(rendezvous("env://"))
    if os.environ.get("GROUP_WORLD_SIZE") == "1":
        store = PrefixStore(f"try {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    return store, rank, size


@contextmanager
def _peers() -> Iterator[None]:
    """Makes a `PeerLostError` of what torch raises when a process of the group is gone."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise PeerLostError(
            "Another process of this pretraining has ended or cannot be reached; the same command "
            "goes on from the last checkpoint."
        ) from error
