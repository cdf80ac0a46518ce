"""Predicted maps of a fit: one ``npz`` file for the pictures of the leaderboard.

For each dataset D, scored on its clean test split, the arrays ``D.sample`` (n,) int32, ``D.truth``
and ``D.prediction`` (n, 70, 70) uint16, velocity in whole m/s.
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

Pair = tuple[NDArray[np.uint16], NDArray[np.uint16]]
"""Truth and prediction, (n, 70, 70) m/s each, of the first n samples."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Stored maps of one dataset, m/s, axes (sample, z, x)."""

    samples: NDArray[np.int32]
    truth: NDArray[np.uint16]
    prediction: NDArray[np.uint16]


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


def update(folder: Path, new: Mapping[str, Pair]) -> None:
    """Write `maps.npz` with new datasets, which replace those of the same name.

    Raises `HomeError` if it cannot be written, `ValueError` or `OSError` if the old file cannot be
    read.
    """
    arrays: dict[str, NDArray[np.generic]] = {}
    path = folder / MAPS_FILE
    if path.exists():
        with np.load(path) as old:
            arrays = {name: old[name] for name in old if name.rpartition(".")[0] not in new}
    for dataset, (truth, prediction) in new.items():
        arrays[f"{dataset}.sample"] = np.arange(len(truth), dtype=np.int32)
        arrays[f"{dataset}.truth"] = truth
        arrays[f"{dataset}.prediction"] = prediction
    if not arrays:
        return
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_atomically(path, buffer.getvalue())
