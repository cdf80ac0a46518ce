"""Reads samples of a dataset from its files in place; generated and real alike."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bench.data.layout import FilePair
from bench.data.npy import SAMPLE_SHAPES, Content, NpyFile

Indices = NDArray[np.int64]
Kind = TypeVar("Kind", bound=np.floating)


def open_file(folder: Path, pair: FilePair, content: Content) -> NpyFile:
    """One of the two files of a pair, its header and size checked. Raises `FileError`."""
    records = content == "records"
    part = pair.records_part if records else pair.maps_part
    return NpyFile.open(
        folder / (pair.records if records else pair.maps),
        content,
        part.held if part else pair.samples,
        types=pair.record_types if records else pair.map_types,
        generated=pair.generated,
    )


class Samples:
    """The samples of one split of one dataset, numbered through its files.

    Opening checks every file's header and size, and reads no sample. Raises `FileError` (a
    `DataError`), naming the file, for one that is missing, cut short, or of a wrong shape or type.
    """

    def __init__(self, folder: Path, pairs: Sequence[FilePair]) -> None:
        self._records = [open_file(folder, pair, "records") for pair in pairs]
        self._maps = [open_file(folder, pair, "maps") for pair in pairs]
        self._first_records = [p.records_part.first if p.records_part else 0 for p in pairs]
        self._first_maps = [p.maps_part.first if p.maps_part else 0 for p in pairs]
        self._ends = np.cumsum([p.samples for p in pairs])

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def records(self, indices: Indices, *, native: bool = False) -> NDArray[np.floating]:
        """(k, 5, 1000, 70) pressures in float32, or `native` in float16 where all files have it.

        Raises `FileError` for NaN or infinity.
        """
        half = native and all(file.dtype == np.float16 for file in self._records)
        kind: type[np.floating] = np.float16 if half else np.float32
        return self._take(self._records, self._first_records, indices, kind)

    def maps(self, indices: Indices) -> NDArray[np.float32]:
        """(k, 1, 70, 70) m/s; raises `FileError` for NaN, infinity or velocities out of range."""
        return self._take(self._maps, self._first_maps, indices, np.float32)

    def _take(
        self, files: list[NpyFile], first: list[int], indices: Indices, kind: type[Kind]
    ) -> NDArray[Kind]:
        owner = np.searchsorted(self._ends, indices, side="right")
        out = np.empty((len(indices), *SAMPLE_SHAPES[files[0].content]), dtype=kind)
        for number in np.unique(owner).tolist():
            here = np.flatnonzero(owner == number)
            start = self._ends[number - 1] if number else 0
            files[number].read_into(out, here.tolist(), indices[here] - start + first[number])
        return out
