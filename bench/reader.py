"""Reads samples of a dataset from its files in place, memory-mapped; generated and real alike."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench import survey
from bench.errors import DataError
from bench.layout import FilePair

_SHAPES = {"records": survey.RECORD_SHAPE, "maps": (1, *survey.MAP_SHAPE)}


class Samples:
    """The samples of one split of one dataset, numbered through its files.

    Opening checks every file's header and size, and reads no sample. Raises `DataError`, naming
    the file, for one that is missing, cut short, or of a wrong shape or type.
    """

    def __init__(self, folder: Path, pairs: Sequence[FilePair]) -> None:
        self._records = [_open(folder / p.records, p.samples, "records") for p in pairs]
        self._maps = [_open(folder / p.maps, p.samples, "maps") for p in pairs]
        self._ends = np.cumsum([p.samples for p in pairs])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def records(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """(k, 5, 1000, 70) float32 pressures; raises `DataError` for NaN or infinity."""
        return self._take(self._records, indices)

    def maps(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """(k, 1, 70, 70) m/s; raises `DataError` for NaN or infinity."""
        return self._take(self._maps, indices)

    def _take(self, files: list[np.memmap], indices: NDArray[np.int64]) -> NDArray[np.float32]:
        out = np.empty((len(indices), *files[0].shape[1:]), dtype=np.float32)
        owner = np.searchsorted(self._ends, indices, side="right")
        for number in np.unique(owner):
            here = owner == number
            start = self._ends[number - 1] if number else 0
            rows = indices[here] - start
            out[here] = files[number][rows]
            finite = np.isfinite(out[here].reshape(len(rows), -1)).all(axis=1)
            if not finite.all():
                raise DataError(
                    f"{files[number].filename}: sample {int(rows[~finite][0])} holds NaN or "
                    "infinite values; fetch or make the file again."
                )
        return out


def _open(path: Path, samples: int, kind: str) -> np.memmap:
    shape = (samples, *_SHAPES[kind])
    remedy = "delete it to have it made again, or fetch it again."
    try:
        array = np.load(path, mmap_mode="r")
    except FileNotFoundError:
        raise DataError(f"{path}: the file is missing; fetch or make it.") from None
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{path}: not a whole .npy file ({error}); {remedy}") from error
    if not isinstance(array, np.memmap):
        raise DataError(f"{path}: not a plain .npy array; {remedy}")
    if array.shape != shape:
        raise DataError(f"{path}: shape {array.shape}, expected {shape}; {remedy}")
    if array.dtype.kind != "f":
        raise DataError(f"{path}: type {array.dtype}, expected float32; {remedy}")
    return array
