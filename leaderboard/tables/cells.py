"""Every cell of every method: its mean, interval, and gain over the reference method."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from bench.protocol import protocols
from bench.protocol.spec import CLEAN
from bench.seismic import metrics
from bench.seismic.metrics import Metric
from leaderboard.stats.estimates import Estimate, by_group
from leaderboard.tables import values
from leaderboard.tables.boards import FIT, Board, cells_of

Key = tuple[str, str, int, str, str]
"""Variant key, training dataset, per cent, test dataset, metric."""
_CELL = ["variant", "train", "percent", "dataset"]


@dataclass(frozen=True, slots=True)
class CellScore:
    """One method on one cell, mean over seeds."""

    value: float
    interval: Estimate | None
    gain: Estimate | None
    """Over the reference method in per cent; None without per-sample scores on the same seeds."""


def table(board: Board) -> dict[Key, CellScore]:
    """Scores of every method on the cells of `lowdata`, which include those of id and ood."""
    found: dict[Key, CellScore] = {}
    for metric in metrics.METRICS:
        rows = _rows(board, metric)
        intervals = by_group(rows, _CELL)
        gains = by_group(_gains(rows, board, metric), _CELL) if board.reference else {}
        for (train, percent, test), known in board.cell_means.items():
            for row in known:
                value = row[metric.name]
                key = (row["variant"], train, percent, test)
                if value is not None:
                    gain = gains.get(key) if train != test else None
                    found[(*key, metric.name)] = CellScore(value, intervals.get(key), gain)
    return found


def means(board: Board, train: str, percent: int, test: str) -> dict[str, dict[str, float]]:
    """Scores of every method on one clean cell, mean over seeds, by variant key and metric."""
    names = [m.name for m in metrics.METRICS]
    rows = board.cell_means.get((train, percent, test), [])
    return {row["variant"]: {name: row[name] for name in names} for row in rows}


def _rows(board: Board, metric: Metric) -> pl.DataFrame:
    """Per-sample values of all cells, linear in the score."""
    clean = board.samples.filter(pl.col("split") == "test", pl.col("condition") == CLEAN)
    wanted = cells_of(protocols.get("lowdata")).select(*FIT, "dataset")
    rows = (
        board.tested.select("run_id", "variant", "seed", *FIT)
        .join(wanted, on=FIT)
        .join(
            clean.select(
                "run_id", "dataset", "sample", pl.col(metric.column).cast(pl.Float64).alias("value")
            ),
            on=["run_id", "dataset"],
        )
        .drop_nulls("value")
    )
    return values.linear(rows, metric, "value", [*_CELL, "seed"])


def _gains(rows: pl.DataFrame, board: Board, metric: Metric) -> pl.DataFrame:
    """Gains over the reference method out of distribution, on the seeds that both have."""
    assert board.reference is not None
    keys: Sequence[str] = ["train", "percent", "dataset", "seed", "sample"]
    theirs = rows.filter(pl.col("variant") == board.reference.key)
    theirs = theirs.select(*keys, pl.col("value").alias("other"))
    joined = rows.filter(pl.col("variant") != board.reference.key).join(theirs, on=keys)
    return values.relative_gain(joined, metric, _CELL)
