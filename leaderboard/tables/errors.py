"""Errors of every test sample of a cell, methods side by side."""

from dataclasses import dataclass

import polars as pl

from bench.protocol.spec import CLEAN
from bench.seismic import metrics
from leaderboard.tables.boards import Board, Variant


@dataclass(frozen=True, slots=True)
class SampleErrors:
    """One test sample: MAE of each method, mean over its seeds, by variant key."""

    sample: int
    mae: dict[str, float]
    floor: float | None
    """MAE of the mean training map on this sample."""

    @property
    def mean(self) -> float:
        return sum(self.mae.values()) / len(self.mae)


def of_cell(board: Board, train: str, test: str) -> tuple[list[Variant], list[SampleErrors]]:
    """Methods fitted on all of `train`, and their errors on `test`, the hardest sample first.

    Hardest is the largest mean over methods. Both are empty where no per-sample scores are known.
    """
    column = metrics.METRICS[0].column
    clean = board.samples.filter(
        pl.col("dataset") == test, pl.col("split") == "test", pl.col("condition") == CLEAN
    ).select("run_id", "sample", pl.col(column).alias("mae"))
    fits = board.tested.filter(
        pl.col("train") == train, pl.col("percent") == 100, pl.col("kind") == "adaptation"
    ).select("run_id", "variant")
    rows = (
        fits.join(clean, on="run_id")
        .drop_nulls("mae")
        .group_by("variant", "sample")
        .agg(pl.col("mae").cast(pl.Float64).mean())
        .sort("sample", "variant")
    )
    floors = board.fits.filter(pl.col("kind") == "floor", pl.col("status") == "done")
    floor = dict(
        clean.join(floors.select("run_id"), on="run_id").select("sample", "mae").iter_rows()
    )
    by_sample: dict[int, dict[str, float]] = {}
    for variant, sample, mae in rows.iter_rows():
        by_sample.setdefault(sample, {})[variant] = mae
    found = [SampleErrors(s, errors, floor.get(s)) for s, errors in by_sample.items()]
    have = set(rows["variant"].to_list())
    return (
        [v for v in board.variants if v.key in have],
        sorted(found, key=lambda errors: (-errors.mean, errors.sample)),
    )
