"""The frozen prefix of a fit: activations below the first trained layer, computed once.

In the first epoch of a stage of training (`ParameterGroup.active`) every step runs as it always
does, and what passes the boundary is kept for each sample; in the epochs after it a step begins
there. Records are not needed any more, so files are not read either. What is kept has the type and
the layout in which it was computed, so losses, weights and scores are the same bit for bit on a
CPU: it is used only where a sample's activations do not depend on its batch.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from bench.contract import INPUT_SHAPE
from bench.data.loader import BYTES_PER_LOADED_SAMPLE, SampleLoader
from bench.data.subsets import Indices
from bench.plugins.adaptation import Checked
from bench.training import allocator, boundary_search
from bench.training.boundary import Boundary, Layout
from bench.training.numerics import Numerics

LARGEST_SHARE = 2
"""Activations may take this many times the memory of the samples themselves; early layers make
more, and copying those costs about what computing them does."""
MAP_BYTES = 4 * 70 * 70
"""Bytes of a sample's map, which is kept beside its activations."""
_LEAST_EPOCHS = 4
"""Shortest stage of training for which the few forward passes that find and check the boundary are
worth it."""
_CLOSE = 1e-2
"""Relative error between batches on a GPU, which promises no bits."""


class FrozenPrefix:
    """The activations of a fit's samples at the boundary, and the steps that begin there.

    `begin` opens a stage; `batches` gives pairs (x, y) in which x are records, or activations where
    `reused` says so; `forward` is then the network for such x.
    """

    def __init__(
        self, adapted: Checked, samples: int, *, budget_bytes: int, numerics: Numerics
    ) -> None:
        """`budget_bytes`: the most that may be kept, on the device."""
        self._adapted, self._samples, self._numerics = adapted, samples, numerics
        self._most = most_bytes(budget_bytes, samples)
        self._possible = _is_possible(adapted, numerics)
        self._wanted = False
        self._boundary: Boundary | None = None
        self._rows: Tensor | None = None
        self._maps: Tensor | None = None
        self._versions: tuple[int, ...] = ()
        self._present: Tensor | None = None
        self._filled = 0
        self.nbytes = 0
        """Bytes of the activations that steps have begun at; 0 where none has."""

    @property
    def recording(self) -> bool:
        """Whether this epoch's steps run as they always do, and their activations are kept."""
        return self._rows is not None and self._filled < self._samples

    @property
    def reused(self) -> bool:
        """Whether this epoch's batches hold activations in place of records."""
        return self._rows is not None and self._filled >= self._samples

    def begin(self, epochs: int) -> None:
        """Open a stage of training that lasts so many epochs; drops what another one has kept."""
        self.release()
        self._wanted = self._possible and epochs >= _LEAST_EPOCHS

    def release(self) -> None:
        """Drop what is kept."""
        self._boundary = self._rows = self._maps = self._present = None
        self._filled, self._wanted = 0, False

    def batches(
        self, loader: SampleLoader, order: Sequence[Indices]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of one epoch: records or activations (b, …), and maps (b, 1, 70, 70)."""
        if self.reused and not self._is_valid():
            self.release()
        if self.reused:
            yield from self._kept(order)
            return
        self._filled = 0
        for indices, (x, y) in zip(order, loader.batches(list(order)), strict=True):
            if self._wanted:
                self._wanted = False
                self._open(x, y, {len(other) for other in order})
            if self.recording:
                assert self._maps is not None
                self._present = torch.from_numpy(indices).to(self._numerics.device)
                self._maps[self._present] = y
                yield x, y
                self._filled += len(indices)
            else:
                yield x, y

    def forward(self, x: Tensor) -> Tensor:
        """The network's output, for whatever x `batches` gives in this epoch."""
        if self.reused:
            assert self._boundary is not None
            return self._boundary.resumed(x)
        if not self.recording:
            y: Tensor = self._adapted.model(x.to(self._numerics.dtype))
            return y
        assert self._boundary is not None
        return self._boundary.recording(x.to(self._numerics.dtype), self._keep)

    def _kept(self, order: Sequence[Indices]) -> Iterator[tuple[Tensor, Tensor]]:
        assert self._rows is not None and self._maps is not None and self._boundary is not None
        self.nbytes = max(self.nbytes, self._rows.nbytes)
        device = self._numerics.device
        places = torch.cat([torch.from_numpy(indices) for indices in order]).to(device)
        for where in places.split([len(indices) for indices in order]):
            yield self._boundary.layout.samples(self._rows[where]), self._maps[where]

    def _keep(self, z: Tensor) -> None:
        assert self._boundary is not None
        if self._rows is None or self._present is None:
            return
        if Layout.of(z) != self._boundary.layout:
            self.release()
        else:
            self._rows[self._present] = self._boundary.layout.rows(z.detach())

    def _open(self, x: Tensor, y: Tensor, sizes: set[int]) -> None:
        """Find the boundary with an epoch's first batch, and make room for all samples."""
        records = x.to(self._numerics.dtype)
        with self._numerics.autocast():
            boundary = boundary_search.find(
                self._adapted,
                records[:2],
                most_bytes=self._most,
                accept=lambda candidate: self._independent(candidate, records, sizes),
            )
        if boundary is None:
            return
        device = self._numerics.device
        try:
            self._rows = torch.empty(
                (self._samples, boundary.layout.values),
                dtype=boundary.layout.dtype,
                device=device,
            )
            self._maps = torch.empty((self._samples, *y.shape[1:]), dtype=y.dtype, device=device)
        except (RuntimeError, MemoryError) as problem:
            if not allocator.is_exhausted(problem):
                raise
            self.release()
            return
        self._boundary = boundary
        self._versions = tuple(tensor._version for tensor in boundary.fixed())

    def _independent(self, boundary: Boundary, x: Tensor, sizes: set[int]) -> bool:
        """Whether a sample's activations are the same wherever it is in a batch of these sizes, and
        whatever else is in it.

        Kernels may add up in another order for another place or size; so it is tried here.
        """
        expected = boundary.activations(x)
        if Layout.of(expected) != boundary.layout:
            return False
        places = torch.arange(len(x))
        tries = [places[-size:] for size in sizes if size < len(x)]
        tries += [places.flip(0), places // 2]
        return all(
            self._agree(boundary.activations(_like(x[some], x)), expected[some]) for some in tries
        )

    def _agree(self, z: Tensor, expected: Tensor) -> bool:
        if self._numerics.device.type == "cpu":
            return torch.equal(z, expected)
        error = (z.float() - expected.float()).norm() / expected.float().norm()
        return bool(error < _CLOSE)

    def _is_valid(self) -> bool:
        """Whether nothing has changed what the activations were computed from."""
        assert self._boundary is not None
        return self._versions == tuple(tensor._version for tensor in self._boundary.fixed())


def most_bytes(budget_bytes: int, samples: int) -> int:
    """The most bytes that one sample's activations may take, its map beside them."""
    each = budget_bytes // samples - MAP_BYTES
    return max(0, min(each, LARGEST_SHARE * BYTES_PER_LOADED_SAMPLE))


def expected_bytes(
    adapted: Checked, samples: int, *, epochs: int, budget_bytes: int, numerics: Numerics
) -> int:
    """Bytes that a fit of so many samples and epochs will keep, as far as shapes tell.

    `adapted` is on the meta device, in the modes in which training begins.
    """
    if epochs < _LEAST_EPOCHS or not _is_possible(adapted, numerics):
        return 0
    records = torch.zeros((2, *INPUT_SHAPE), device="meta")
    each = [
        kept.values * numerics.dtype.itemsize for kept in boundary_search.layouts(adapted, records)
    ]
    fitting = [size for size in each if size <= most_bytes(budget_bytes, samples)]
    return samples * (fitting[-1] + MAP_BYTES) if fitting else 0


def _is_possible(adapted: Checked, numerics: Numerics) -> bool:
    """Whether activations may be kept: not with stock layers, nor where the method's own code runs
    at every step and may change anything."""
    return numerics.frugal and adapted.penalty is None and adapted.after_step is None


def _like(x: Tensor, layout: Tensor) -> Tensor:
    """The values of x in the memory format in which batches come."""
    return torch.empty_like(layout[: len(x)]).copy_(x)
