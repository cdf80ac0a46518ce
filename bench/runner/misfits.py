"""Data misfits of recorded runs, from their saved maps alone: nothing is trained or predicted.

Published runs have no weights and no data, but their maps; so the true map's record is simulated
too. For generated data it is the record itself, up to the rounding of the map to whole m/s.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from bench.data.generate import simulation_batch
from bench.errors import RecordError
from bench.progress import Advance, Progress
from bench.records import gathers, maps, misfits
from bench.records.record import MAPS_FILE
from bench.seismic.gather import gather
from bench.seismic.misfit import VERSION, Maps, misfit, records_of


def missing(folders: Sequence[Path]) -> list[Path]:
    """The folders with maps whose misfits have not been computed, or by another definition."""
    incomplete = []
    for folder in folders:
        if misfits.maps_sha256(folder) is None:
            continue
        rows = misfits.read(folder)
        if rows.is_empty() or (rows["version"] != VERSION).any():
            incomplete.append(folder)
    return incomplete


def measure(folders: Sequence[Path], device: torch.device, progress: Progress) -> None:
    """Compute and write the misfits of these runs, and the gathers of their samples.

    Gathers lie beside the runs. One run is done after the other.

    Raises `RecordError` for maps that cannot be read, `HomeError` where a file cannot be written.
    """
    true = TrueRecords(device)
    for folder in folders:
        by_dataset = _maps(folder)
        total = sum(len(kept.truth) for kept in by_dataset.values())
        with progress.stage(f"misfit of {folder.name}", total, "maps") as advance:
            parts = [_rows(name, kept, true, advance) for name, kept in by_dataset.items()]
        for kept in by_dataset.values():
            for truth, record in zip(kept.truth, true.of(kept.truth), strict=True):
                gathers.write(folder, truth, gather(record))
        sha = misfits.maps_sha256(folder)
        rows = pl.concat(parts).with_columns(
            pl.lit(VERSION).alias("version"), pl.lit(sha).alias("maps")
        )
        misfits.write(folder, rows)


class TrueRecords:
    """Records of true maps, each simulated once: all methods are tested on the same samples."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._known: dict[str, NDArray[np.float32]] = {}

    def of(self, truth: Maps) -> NDArray[np.float32]:
        """Records (n, 5, 1000, 70) of maps (n, 70, 70)."""
        keys = [hashlib.sha256(velocity.tobytes()).hexdigest() for velocity in truth]
        new = [i for i, key in enumerate(keys) if key not in self._known]
        if new:
            for i, record in zip(new, records_of(truth[new], self.device), strict=True):
                self._known[keys[i]] = record
        return np.stack([self._known[key] for key in keys])


def _maps(folder: Path) -> dict[str, maps.Kept]:
    try:
        return maps.read(folder)
    except ValueError as error:
        raise RecordError(f"{folder / MAPS_FILE}: {error}") from error


def _rows(name: str, kept: maps.Kept, true: TrueRecords, advance: Advance) -> pl.DataFrame:
    size = simulation_batch(true.device)
    frames = []
    for start in range(0, len(kept.samples), size):
        part = slice(start, start + size)
        computed = misfit(kept.prediction[part], true.of(kept.truth[part]), true.device)
        frames.append(
            pl.DataFrame(
                {
                    "sample": kept.samples[part],
                    "relative_l2": computed.relative_l2,
                    "clamped": computed.clamped,
                    "excess_mps": computed.excess_mps,
                }
            )
        )
        advance(len(computed.clamped))
    return pl.concat(frames).with_columns(pl.lit(name).alias("dataset"))
