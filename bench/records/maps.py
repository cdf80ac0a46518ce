"""Predicted maps of a fit: one ``npz`` file for the pictures of the leaderboard.

For each dataset D, scored on its clean test split, the arrays ``D.sample`` (n,) int32, ``D.truth``
and ``D.prediction`` (n, 70, 70) uint16, velocity in whole m/s.
"""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.atomic import write_atomically
from bench.records.record import MAPS_FILE

Pair = tuple[NDArray[np.uint16], NDArray[np.uint16]]
"""Truth and prediction, (n, 70, 70) m/s each, of the first n samples."""


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
