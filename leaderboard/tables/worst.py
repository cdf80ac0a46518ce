"""The test sample on which a run errs most, out of all that it was scored on."""

from dataclasses import dataclass

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
    column = metrics.METRICS[0].column
    clean = board.samples.filter(
        pl.col("split") == "test", pl.col("condition") == CLEAN, pl.col(column).is_finite()
    )
    found = clean.group_by("run_id", "dataset").agg(
        pl.col("sample").get(pl.col(column).arg_max()).alias("sample"),
        pl.col(column).max().alias("mae"),
        pl.len().alias("of"),
    )
    return {
        (run, dataset): Worst(sample, mae, of)
        for run, dataset, sample, mae, of in found.iter_rows()
    }
