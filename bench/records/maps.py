"""Predicted maps of a fit: one ``npz`` file for the pictures of the leaderboard.

For each dataset D, scored on its clean test split, the arrays ``D.sample`` (n,) int32, ``D.truth``
and ``D.prediction`` (n, 70, 70) uint16, velocity in whole m/s: of the first samples, as many as
`Track.gallery` says and the same for all methods, and of the one on which this fit errs most.
"""

import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from bench.atomic import write_atomically
from bench.errors import describe
from bench.files import irregular
from bench.protocol.survey import MAP_SHAPE
from bench.records.record import MAPS_FILE

_MOST_BYTES = 64_000_000
_MOST_UNPACKED_BYTES = 256_000_000


@dataclass(frozen=True, slots=True)
class Kept:
    """Stored maps of one dataset, m/s, axes (sample, z, x)."""

    samples: NDArray[np.int32]
    truth: NDArray[np.uint16]
    prediction: NDArray[np.uint16]

    def errors_mps(self) -> NDArray[np.float64]:
        """(n,) mean absolute errors, m/s."""
        difference = self.prediction.astype(np.int32) - self.truth
        errors: NDArray[np.float64] = np.abs(difference).mean(axis=(1, 2))
        return errors

    def only(self, samples: Sequence[int]) -> "Kept":
        """The maps of these samples, in their order; each must be there."""
        places = {int(sample): i for i, sample in enumerate(self.samples)}
        rows = [places[sample] for sample in samples]
        return Kept(self.samples[rows], self.truth[rows], self.prediction[rows])

    def first(self, count: int) -> "Kept":
        """The maps of samples below `count`, and of the worst one."""
        few = self.samples < count
        if len(few):
            few[self.errors_mps().argmax()] = True
        return Kept(self.samples[few], self.truth[few], self.prediction[few])


def read(folder: Path, datasets: Collection[str] | None = None) -> dict[str, Kept]:
    """Stored maps by dataset, of all or of those named; empty if the run has none.

    Raises `ValueError` for a file that is not regular, too large or not what this module writes:
    it may come from anywhere.
    """
    path = folder / MAPS_FILE
    if not path.exists() and not path.is_symlink():
        return {}
    if reason := irregular(path, _MOST_BYTES):
        raise ValueError(reason)
    try:
        with ZipFile(path) as archive:  # a small archive may hold any number of zeros
            total = sum(entry.file_size for entry in archive.infolist())
        if total > _MOST_UNPACKED_BYTES:
            raise ValueError(f"{total:,} bytes unpacked, at most {_MOST_UNPACKED_BYTES:,} are read")
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            names = [name.removesuffix(".truth") for name in arrays if name.endswith(".truth")]
            wanted = [name for name in names if datasets is None or name in datasets]
            return {name: _kept(name, arrays) for name in wanted}
    except Exception as error:  # zip and npy have many ways to be wrong
        raise ValueError(f"Maps cannot be read: {describe(error).rstrip('.')}.") from error


def _kept(name: str, arrays: Mapping[str, NDArray[np.generic]]) -> Kept:
    samples, truth, prediction = (
        arrays[f"{name}.{kind}"] for kind in ("sample", "truth", "prediction")
    )
    if samples.ndim != 1 or samples.dtype != np.int32:
        raise ValueError(f"numbers of samples are {samples.dtype} {samples.shape}, not int32 (n,)")
    shape = (len(samples), *MAP_SHAPE)
    if any(a.shape != shape or a.dtype != np.uint16 for a in (truth, prediction)):
        raise ValueError(
            f"maps are {truth.dtype} {truth.shape} and {prediction.dtype} {prediction.shape}, not "
            f"uint16 {shape}"
        )
    numbers = samples.tolist()
    if len(set(numbers)) < len(numbers) or min(numbers, default=0) < 0:
        raise ValueError("numbers of samples are negative or occur twice")
    return Kept(samples.astype(np.int32), truth.astype(np.uint16), prediction.astype(np.uint16))


def update(folder: Path, new: Mapping[str, Kept]) -> None:
    """Write `maps.npz` with new datasets, which replace those of the same name.

    Raises `HomeError` if it cannot be written, `ValueError` if the old file cannot be read.
    """
    write(folder, read(folder) | dict(new))


def write(folder: Path, kept: Mapping[str, Kept]) -> None:
    """Write `maps.npz`, unless there is nothing to keep. Raises `HomeError`."""
    arrays: dict[str, NDArray[np.generic]] = {}
    for dataset, maps in kept.items():
        arrays[f"{dataset}.sample"] = maps.samples
        arrays[f"{dataset}.truth"] = maps.truth
        arrays[f"{dataset}.prediction"] = maps.prediction
    if arrays:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        write_atomically(folder / MAPS_FILE, buffer.getvalue())
