"""Mean data misfit of the kept maps, in and out of distribution.

Only fits on all of a target count, and a method at the seeds at which all four targets were fitted
and have misfits on all four test sets.
"""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from bench.protocol.spec import TARGETS
from leaderboard.load import misfits
from leaderboard.load.records import Problem
from leaderboard.tables.boards import Board
from leaderboard.tables.variants import Variant


@dataclass(frozen=True, slots=True)
class MisfitRow:
    """The misfits of one method."""

    variant: Variant
    in_distribution: float
    """Relative L2 of the records, mean over samples, targets and seeds."""
    out_of_distribution: float
    clamped: float
    """Share of predicted cells outside the range of velocities."""
    excess_mps: float
    """The farthest outside, m/s."""
    seeds: int
    samples: int
    """Of each test set, at least."""


def table(board: Board) -> tuple[list[MisfitRow], list[Problem]]:
    """A line for each method, best out of distribution first; and files that cannot be used."""
    fits = board.tested.filter(
        pl.col("kind") == "adaptation", pl.col("percent") == 100, pl.col("train").is_in(TARGETS)
    )
    common = pl.col("sample") < board.track.gallery  # not the worst one of each fit
    folders = {run: Path(folder) for run, folder in fits.select("run_id", "folder").iter_rows()}
    found, problems = misfits.read(folders)
    cells = (
        fits.select("run_id", "variant", "train", "seed")
        .join(found.filter(pl.col("dataset").is_in(TARGETS), common), on="run_id")
        .group_by("variant", "seed", "train", "dataset")
        .agg(
            pl.col("relative_l2", "clamped").mean(),
            pl.col("excess_mps").max(),
            pl.len().alias("samples"),
        )
    )
    complete = (
        cells.group_by("variant", "seed").len().filter(pl.col("len") == len(TARGETS) ** 2)
    ).select("variant", "seed")
    own = pl.col("train") == pl.col("dataset")
    means = (
        cells.join(complete, on=["variant", "seed"])
        .group_by("variant")
        .agg(
            pl.col("relative_l2").filter(own).mean().alias("in_distribution"),
            pl.col("relative_l2").filter(~own).mean().alias("out_of_distribution"),
            pl.col("clamped").mean(),
            pl.col("excess_mps").max(),
            pl.col("seed").n_unique().alias("seeds"),
            pl.col("samples").min(),
        )
        .sort("out_of_distribution", "variant")
    )
    by_key = {v.key: v for v in board.variants}
    lines = [
        MisfitRow(variant=by_key[row.pop("variant")], **row) for row in means.iter_rows(named=True)
    ]
    return lines, problems
