"""Files → scaled tensors on the device, in batches."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.data import layout
from bench.data.disturbed import DisturbedSamples
from bench.data.reader import Samples
from bench.data.resimulation import pairs_in
from bench.data.subsets import Indices
from bench.protocol.conditions import Condition
from bench.protocol.spec import CLEAN, Track
from bench.seismic.scaling import scale_maps, scale_to_half

_CHUNK = 64
"""Samples that go to the device at a time: 45 MB of float16 records."""
_BLOCK = 4
"""Samples that are read at a time: 3 to 6 MB, which stay in the processor's cache."""
BYTES_PER_LOADED_SAMPLE = 2 * 5 * 1000 * 70 + 4 * 70 * 70
"""Records as float16, maps as float32."""
_READERS = min(4, max(2, os.cpu_count() or 2))
"""Threads that read batches ahead; each holds one batch. More than cores wait for each other."""


class SampleLoader:
    """Samples of one or several splits under consecutive numbers, as scaled tensors in batches.

    Where they fit they live on the device, otherwise they stream from the files, the next batches
    being read while the present one is worked on. Both give the same bits: records as float16,
    which moves the MAE, RMSE or SSIM of no sample by more than 1e-4.
    """

    def __init__(
        self,
        sources: Sequence[tuple[Samples | DisturbedSamples, Indices]],
        *,
        device: torch.device,
        resident: bool,
    ) -> None:
        self._sources = sources
        self._device = device
        self._ends = np.cumsum([len(indices) for _, indices in sources])
        self._store = self._load() if resident else None

    def __len__(self) -> int:
        return int(self._ends[-1])

    def batches(self, order: list[Indices]) -> Iterator[tuple[Tensor, Tensor]]:
        """Pairs of records (b, 5, 1000, 70) float16 and maps (b, 1, 70, 70) float32, scaled."""
        if self._store is not None:
            records, maps = self._store
            # All at once: each copy to a GPU would have the host wait for it in every step.
            places = torch.from_numpy(np.concatenate(order)).to(self._device)
            for where in places.split([len(indices) for indices in order]):
                yield records[where].permute(0, 3, 1, 2), maps[where]
            return
        with ThreadPoolExecutor(_READERS, thread_name_prefix="bench-reader") as readers:
            ahead = deque(readers.submit(self._read, indices) for indices in order[:_READERS])
            try:
                for number in range(len(order)):
                    x, y = ahead.popleft().result()
                    if number + _READERS < len(order):
                        ahead.append(readers.submit(self._read, order[number + _READERS]))
                    yield (
                        x.to(self._device, non_blocking=True).permute(0, 3, 1, 2),
                        y.to(self._device, non_blocking=True),
                    )
            finally:  # also where the caller stops half-way
                readers.shutdown(cancel_futures=True)

    def _load(self) -> tuple[Tensor, Tensor]:
        # Shots last in memory, so that a batch is channels-last without a copy
        records = torch.empty((len(self), 1000, 70, 5), dtype=torch.float16, device=self._device)
        maps = torch.empty((len(self), 1, 70, 70), device=self._device)
        for start in range(0, len(self), _CHUNK):
            here = slice(start, min(start + _CHUNK, len(self)))
            x, y = self._read(np.arange(here.start, here.stop))
            records[here], maps[here] = x.to(self._device), y.to(self._device)
        return records, maps

    def _read(self, indices: Indices) -> tuple[Tensor, Tensor]:
        """Records (k, 1000, 70, 5) float16 and maps (k, 1, 70, 70) float32 on the CPU, scaled."""
        pin = self._device.type == "cuda"
        records = torch.empty((len(indices), 1000, 70, 5), dtype=torch.float16, pin_memory=pin)
        maps = torch.empty((len(indices), 1, 70, 70), pin_memory=pin)
        owner = np.searchsorted(self._ends, indices, side="right")
        for number in np.unique(owner):
            samples, chosen = self._sources[number]
            here = torch.from_numpy(np.flatnonzero(owner == number))
            start = self._ends[number - 1] if number else 0
            rows = torch.from_numpy(chosen[indices[owner == number] - start])
            for slots, few in zip(here.split(_BLOCK), rows.split(_BLOCK), strict=True):
                pressure = samples.records(few.numpy(), native=True)
                for slot, sample in zip(slots.tolist(), pressure, strict=True):
                    records[slot].copy_(scale_to_half(sample).permute(1, 2, 0))
                maps[slots] = scale_maps(torch.from_numpy(samples.maps(few.numpy())))
        return records, maps


class Datasets:
    """The datasets of one track in one folder; opens and loads each split at most once."""

    def __init__(self, folder: Path, track: Track, device: torch.device) -> None:
        self._folder, self._track, self._device = folder, track, device
        self._open: dict[tuple[str, layout.Split], Samples] = {}
        self._tests: dict[tuple[str, str], SampleLoader] = {}
        self._test_bytes = 0
        self._training: dict[tuple[tuple[str, bytes], ...], SampleLoader] = {}

    @cached_property
    def _memory_limit(self) -> int:
        """Bytes of training data that may stay on the device: a third of what is free at first."""
        if self._device.type == "cuda":
            return torch.cuda.mem_get_info(self._device)[0] // 3
        import psutil

        return int(psutil.virtual_memory().available // 3)

    @property
    def _test_limit(self) -> int:
        """Bytes of test data that may stay on the device, all test splits together."""
        return self._memory_limit // 4

    @property
    def activation_limit(self) -> int:
        """Bytes of activations that may stay on the device beside the data: a quarter of what is
        free at first."""
        return 3 * self._memory_limit // 4

    def samples(self, dataset: str, split: layout.Split) -> Samples:
        """Open one split. Raises `DataError` for missing or damaged files."""
        key = (dataset, split)
        if key not in self._open:
            pairs = layout.files(dataset, split, self._track.data)
            self._open[key] = Samples(layout.folder(self._folder, dataset), pairs)
        return self._open[key]

    def training(
        self, sources: list[tuple[str, Indices]], *, resident: bool | None = None
    ) -> SampleLoader:
        """Training samples of several datasets, by their numbers in each training split.

        `resident`: whether they are loaded onto the device; None: where they fit.

        The last pool is kept: the next method is fitted on the same samples as a rule.
        """
        key = tuple((name, indices.tobytes()) for name, indices in sources)
        if key not in self._training:
            self._training.clear()  # before the next one takes its memory
            total = sum(len(indices) for _, indices in sources)
            opened = [(self.samples(name, "train"), indices) for name, indices in sources]
            if resident is None:
                resident = self.loaded_bytes([total], "train") > 0
            self._training[key] = SampleLoader(opened, device=self._device, resident=resident)
        return self._training[key]

    def held_out(self, sources: list[tuple[str, Indices]]) -> SampleLoader:
        """Validation samples, in the device's memory for a moment where they fit."""
        opened = [(self.samples(name, "train"), indices) for name, indices in sources]
        total = sum(len(indices) for _, indices in sources)
        resident = total * BYTES_PER_LOADED_SAMPLE < self._test_limit
        return SampleLoader(opened, device=self._device, resident=resident)

    def test(self, dataset: str) -> SampleLoader:
        """The whole test split of a dataset; kept from call to call."""
        return self._test(dataset, CLEAN, lambda: self.samples(dataset, "test"))

    def disturbed(self, dataset: str, condition: Condition, folder: Path) -> SampleLoader:
        """The test split of a dataset under a condition; kept from call to call.

        `folder` has the records of conditions that are simulated anew, see
        `bench.data.resimulation`.
        """

        def opened() -> Samples | DisturbedSamples:
            clean = self.samples(dataset, "test")
            if not condition.resimulated:
                return DisturbedSamples(clean, dataset, condition)
            pairs = layout.files(dataset, "test", self._track.data)
            return Samples(layout.folder(self._folder, dataset), pairs_in(folder, pairs))

        return self._test(dataset, condition.name, opened)

    def _test(
        self, dataset: str, condition: str, opened: Callable[[], Samples | DisturbedSamples]
    ) -> SampleLoader:
        key = (dataset, condition)
        if key not in self._tests:
            samples = opened()
            size = len(samples) * BYTES_PER_LOADED_SAMPLE
            resident = self._test_bytes + size < self._test_limit
            self._test_bytes += size if resident else 0
            self._tests[key] = SampleLoader(
                [(samples, np.arange(len(samples)))], device=self._device, resident=resident
            )
        return self._tests[key]

    def loaded_bytes(self, sizes: Iterable[int], split: layout.Split) -> int:
        """Device memory for loaders of these numbers of samples: test splits are kept together,
        and a loader that does not fit stays in its files."""
        total = 0
        for size in (samples * BYTES_PER_LOADED_SAMPLE for samples in sizes):
            fits = total + size < self._test_limit if split == "test" else size < self._memory_limit
            total += size if fits else 0
        return total
