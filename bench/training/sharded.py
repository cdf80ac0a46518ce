"""Training on batches in shards: the same bits whatever the number of processes.

A batch is cut into a fixed number of shards. Each is a small batch of its own: BatchNorm normalises
with its statistics, random numbers come from its seed. What the shards give (gradient, running
statistics, loss) is averaged, weighted by their samples, in the fixed order of
`bench.training.group.tree_sum`. A process computes as many shards as fall to it, one after the
other, so that the number of processes decides the speed and nothing else.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from bench.contract import Adapted
from bench.data.subsets import Indices
from bench.plugins.adaptation import training_mode
from bench.protocol.spec import RULES
from bench.records.record import Epoch
from bench.seeds import derive, seed_everything
from bench.training import train
from bench.training.group import Group, tree_sum
from bench.training.numerics import Numerics
from bench.training.schedule import factor


@dataclass(frozen=True)
class Shards:
    """The shards of every batch, and those that fall to this process."""

    total: int
    """A power of two."""
    group: Group

    @property
    def count(self) -> int:
        """Number of this process's shards."""
        return self.total // self.group.size

    @property
    def first(self) -> int:
        """Number of the first of them."""
        return self.group.rank * self.count

    def of(self, batch: Indices) -> list[Indices]:
        """This process's shards of a batch; all shards are equal to within one sample."""
        return np.array_split(batch, self.total)[self.first : self.first + self.count]

    def sum(self, value: Callable[[int], Tensor]) -> Tensor:
        """The sum of value(shard) over all shards; asks for those of this process."""
        return self.group.sum(tree_sum(value, self.first, self.count))


@dataclass(frozen=True)
class BatchPart:
    """This process's shards of one batch."""

    shards: Sequence[tuple[Tensor, Tensor]]
    """Scaled records (b, 5, 1000, 70) and maps (b, 1, 70, 70) of each."""
    batch: int
    """Samples of the whole batch."""


Parts = Callable[[int], Iterable[BatchPart]]
"""epoch → this process's part of each batch."""


def fit(
    adapted: Adapted,
    adam: torch.optim.AdamW,
    parts: Parts,
    *,
    shards: Shards,
    layers: Sequence[_BatchNorm],
    seed: int,
    epochs: range,
    total_epochs: int,
    steps_per_epoch: int,
    numerics: Numerics,
) -> Iterator[Epoch]:
    """Train like `bench.training.train.fit`, with the shards of every batch combined.

    `layers` are those whose running statistics move. Raises `DivergedError`, in all processes, when
    an epoch's loss is NaN or infinite.
    """
    model, total = adapted.model, total_epochs * steps_per_epoch
    step = ShardedStep(adapted, adam, shards=shards, layers=layers, numerics=numerics)
    with numerics.frugal_pass(model):
        for epoch in epochs:
            start = time.perf_counter()
            train.activate(adapted, epoch / total_epochs)
            training_mode(model, "both")
            rate = 0.0
            losses, samples = torch.zeros((), device=numerics.device), 0
            for number, part in enumerate(parts(epoch), start=epoch * steps_per_epoch):
                rate = RULES.peak_learning_rate * factor(number, total)
                train.set_rate(adam, rate)
                losses += step(part, derive(seed, "step", number)) * part.batch
                samples += part.batch
            mean = float(losses) / samples
            if not np.isfinite(mean):
                raise train.DivergedError(f"The training loss became {mean} in epoch {epoch}.")
            seconds = time.perf_counter() - start
            yield Epoch(epoch=epoch, loss=mean, learning_rate=rate, seconds=seconds)


class ShardedStep:
    """The training step on one batch, of which this process has its shards."""

    def __init__(
        self,
        adapted: Adapted,
        adam: torch.optim.AdamW,
        *,
        shards: Shards,
        layers: Sequence[_BatchNorm],
        numerics: Numerics,
    ) -> None:
        self._model, self._adam, self._shards = adapted.model, adam, shards
        self._parameters = [p for group in adapted.groups for p in group.parameters]
        self._layers, self._statistics = layers, statistics(layers)
        self._numerics = numerics

    def __call__(self, part: BatchPart, seed: int) -> Tensor:
        """Do a step; returns the detached L1 loss of the whole batch, not synchronised."""
        before = [value.clone() for value in self._statistics]
        batches = [layer.num_batches_tracked for layer in self._layers]
        counts = [None if count is None else count.clone() for count in batches]

        def value(shard: int) -> Tensor:
            _copy(before, self._statistics)
            x, y = part.shards[shard - self._shards.first]
            seed_everything(derive(seed, "shard", shard))
            self._adam.zero_grad(set_to_none=True)
            loss = train.l1(self._model, x.to(self._numerics.dtype), y, self._numerics)
            loss.backward()
            gradients = [
                torch.zeros_like(p) if p.grad is None else p.grad for p in self._parameters
            ]
            return flat([*gradients, *self._statistics, loss.detach()]) * (len(x) / part.batch)

        combined = self._shards.sum(value)
        for parameter in self._parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        loss = combined.new_empty(())
        _copy_flat(combined, [*gradients, *self._statistics, loss])
        for count, old in zip(batches, counts, strict=True):
            if count is not None and old is not None:
                count.copy_(old + 1)
        self._adam.step()
        return loss


def combine_statistics(
    layers: Sequence[_BatchNorm], shards: Shards, gather: Callable[[int], float]
) -> None:
    """Set running statistics to the weighted mean of what each shard gathers.

    `gather` computes those of one shard in the layers and returns the shard's weight; the weights
    of all shards add up to 1.
    """
    values = statistics(layers)

    def value(shard: int) -> Tensor:
        weight = gather(shard)
        return flat(values) * weight

    _copy_flat(shards.sum(value), values)


def statistics(layers: Sequence[_BatchNorm]) -> list[Tensor]:
    """Running means and variances (channels,) of layers."""
    both = [(layer.running_mean, layer.running_var) for layer in layers]
    return [value for pair in both for value in pair if value is not None]


def flat(values: Iterable[Tensor]) -> Tensor:
    """All values one after the other, as one new vector."""
    return torch.cat([value.detach().reshape(-1) for value in values])


def _copy(values: Sequence[Tensor], places: Sequence[Tensor]) -> None:
    for value, place in zip(values, places, strict=True):
        place.copy_(value)


def _copy_flat(vector: Tensor, places: Sequence[Tensor]) -> None:
    """The inverse of `flat`, into tensors that are there."""
    parts = vector.split([place.numel() for place in places])
    _copy([part.view(place.shape) for part, place in zip(parts, places, strict=True)], places)


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Context in which a shard gives the same bits in every process on one kind of device.

    On a CPU one thread computes, since sums that threads share depend on their number. On a GPU
    cuDNN does not choose among its kernels by their speed, and torch uses deterministic ones where
    it has them, and warns where it has none.
    """
    threads, benchmark = torch.get_num_threads(), torch.backends.cudnn.benchmark
    deterministic = torch.are_deterministic_algorithms_enabled()
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True, warn_only=True)
    else:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.backends.cudnn.benchmark = benchmark
        torch.use_deterministic_algorithms(deterministic)
