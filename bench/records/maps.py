"""Predicted maps of a fit: one ``npz`` file for the pictures of the leaderboard.

For each dataset D, scored on its clean test split, the arrays ``D.sample`` (n,) int32, ``D.truth``
and ``D.prediction`` (n, 70, 70) uint16, velocity in whole m/s: of the first samples, as many as
`Track.gallery` says and the same for all methods, and of the one on which this fit errs most.
"""

import io
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from bench.atomic import write_atomically
from bench.protocol.survey import MAP_SHAPE
from bench.records.record import MAPS_FILE


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

    def first(self, count: int) -> "Kept":
        """The maps of samples below `count`, and of the worst one."""
        few = self.samples < count
        if len(few):
            few[self.errors_mps().argmax()] = True
        return Kept(self.samples[few], self.truth[few], self.prediction[few])


def read(folder: Path) -> dict[str, Kept]:
    """Stored maps by dataset; empty if the run has none. Raises ValueError for a bad file."""
    path = folder / MAPS_FILE
    if not path.is_file():
        return {}
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            names = [name.removesuffix(".truth") for name in arrays if name.endswith(".truth")]
            return {
                name: _kept(
                    arrays[f"{name}.sample"], arrays[f"{name}.truth"], arrays[f"{name}.prediction"]
                )
                for name in names
            }
    except (OSError, BadZipFile, KeyError, EOFError, zlib.error) as error:
        raise ValueError(f"Maps cannot be read: {error}.") from error


def _kept(
    samples: NDArray[np.int32], truth: NDArray[np.uint16], prediction: NDArray[np.uint16]
) -> Kept:
    shape = (len(samples), *MAP_SHAPE)
    if truth.shape != shape or prediction.shape != shape:
        raise ValueError(f"Maps are {truth.shape} and {prediction.shape}, not {shape}.")
    return Kept(samples, truth, prediction)


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
