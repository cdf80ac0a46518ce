"""Errors of single test samples, for whoever asks where a method fails."""

from dataclasses import dataclass

import polars as pl

from bench.protocol.protocols import others
from bench.protocol.spec import CLEAN, TARGETS
from bench.seismic import metrics
from leaderboard.tables.boards import Board, Variant

MPS = 1500.0
"""One unit on [-1, 1] in m/s."""


@dataclass(frozen=True, slots=True)
class SampleErrors:
    """MAE of every sample of one test set, m/s, mean over seeds, by method key."""

    train: str
    test: str
    errors: dict[str, list[float]]
    seeds: dict[str, int]


def cells(board: Board) -> list[SampleErrors]:
    """The cells of fits on all of a target, its own test set first."""
    column = metrics.METRICS[0].column
    fits = board.tested.filter(
        pl.col("kind") == "adaptation", pl.col("percent") == 100, pl.col("train").is_in(TARGETS)
    )
    means = (
        board.samples.filter(pl.col("split") == "test", pl.col("condition") == CLEAN)
        .join(fits.select("run_id", "variant", "train", "seed"), on="run_id")
        .group_by("train", "dataset", "variant", "sample")
        .agg(pl.col(column).mean() * MPS, pl.col("seed").n_unique().alias("seeds"))
        .drop_nulls(column)
        .sort("variant", "sample")
    )
    groups = means.partition_by("train", "dataset", as_dict=True)
    found = []
    for train in TARGETS:
        for test in (train, *others(train)):
            if (group := groups.get((train, test))) is None:
                continue
            parts = group.partition_by("variant", as_dict=True, maintain_order=True)
            errors = {str(key): part[column].to_list() for (key,), part in parts.items()}
            most = max(map(len, errors.values()))
            whole = {key: values for key, values in errors.items() if len(values) == most}
            seeds = {str(key): part["seeds"].to_list()[0] for (key,), part in parts.items()}
            found.append(SampleErrors(train, test, whole, seeds))
    return found


def methods(board: Board, found: list[SampleErrors]) -> list[Variant]:
    """The methods that have errors in any of these cells, in the board's order."""
    return [v for v in board.variants if any(v.key in cell.errors for cell in found)]
