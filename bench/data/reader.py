"""Reads samples of a dataset from its files in place; generated and real alike."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.data.layout import FilePair
from bench.data.npy import SAMPLE_SHAPES, NpyFile

Indices = NDArray[np.int64]


class Samples:
    """The samples of one split of one dataset, numbered through its files.

    Opening checks every file's header and size, and reads no sample. Raises `FileError` (a
    `DataError`), naming the file, for one that is missing, cut short, or of a wrong shape or type.
    """

    def __init__(self, folder: Path, pairs: Sequence[FilePair]) -> None:
        self._pairs = tuple(pairs)
        self._records = [
            NpyFile.open(folder / p.records, "records", p.samples, types=p.record_types)
            for p in pairs
        ]
        self._maps = [
            NpyFile.open(folder / p.maps, "maps", p.samples, types=p.map_types) for p in pairs
        ]
        self._ends = np.cumsum([p.samples for p in pairs])

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def records(self, indices: Indices) -> NDArray[np.float32]:
        """(k, 5, 1000, 70) float32 pressures; raises `FileError` for NaN or infinity."""
        return self._take(self._records, indices)

    def maps(self, indices: Indices) -> NDArray[np.float32]:
        """(k, 1, 70, 70) m/s; raises `FileError` for NaN, infinity or velocities out of range."""
        return self._take(self._maps, indices)

    def sketch(self) -> str:
        """A hash of the content that does not read all of it: names and sketches of the files."""
        digest = hashlib.sha256()
        for pair, records, maps in zip(self._pairs, self._records, self._maps, strict=True):
            for name, file in ((pair.records, records), (pair.maps, maps)):
                digest.update(name.encode() + b"\0" + file.sketch())
        return digest.hexdigest()

    def _take(self, files: list[NpyFile], indices: Indices) -> NDArray[np.float32]:
        owner = np.searchsorted(self._ends, indices, side="right")
        out = np.empty((len(indices), *SAMPLE_SHAPES[files[0].content]), dtype=np.float32)
        for number in np.unique(owner).tolist():
            here = owner == number
            start = self._ends[number - 1] if number else 0
            out[here] = files[number].read(indices[here] - start)
        return out
