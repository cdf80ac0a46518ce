"""The test sample on which a run errs most, out of all that it was scored on."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from bench.protocol.spec import CLEAN
from bench.seismic import metrics
from leaderboard.tables.boards import Board


@dataclass(frozen=True, slots=True)
class Worst:
    """One sample of a clean test split."""

    sample: int
    mae: float
    """On [−1, 1]."""
    of: int
    """Number of samples in the split."""


def samples(board: Board) -> dict[tuple[str, str], Worst]:
    """By run id and test dataset; runs without per-sample scores are left out.

    Of equal errors the first in the file of scores counts.
    """
    values = board.samples.values[metrics.METRICS[0].column]
    clean = board.samples.cells.filter(pl.col("split") == "test", pl.col("condition") == CLEAN)
    found = {}
    for run, dataset, first, count in clean.select(
        "run_id", "dataset", "first", "count"
    ).iter_rows():
        errors = values[first : first + count]
        known = np.isfinite(errors)
        if known.any():
            sample = int(np.where(known, errors, -np.inf).argmax())
            found[run, dataset] = Worst(sample, float(errors[sample]), int(known.sum()))
    return found
