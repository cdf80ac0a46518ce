"""What choosing the epoch on test data would have flattered each method by."""

from dataclasses import dataclass

import polars as pl

from leaderboard.tables.boards import Board
from leaderboard.tables.variants import Variant


@dataclass(frozen=True, slots=True)
class EpochChoice:
    """One method: MAE after the last epoch minus that after the best, on the own test set."""

    variant: Variant
    mean: float
    most: float
    fits: int


def table(board: Board) -> list[EpochChoice]:
    """A line for each method with such fits, the most flattered first."""
    gains = (
        board.tested.filter(pl.col("kind") == "adaptation")
        .drop_nulls("best_epoch_gain")
        .group_by("variant")
        .agg(
            pl.col("best_epoch_gain").mean().alias("mean"),
            pl.col("best_epoch_gain").max().alias("most"),
            pl.len().alias("fits"),
        )
        .sort("mean", "variant", descending=[True, False])
    )
    variants = {v.key: v for v in board.variants}
    return [
        EpochChoice(variant=variants[row.pop("variant")], **row)
        for row in gains.iter_rows(named=True)
    ]
