"""Mean scores on other datasets and under a changed acquisition.

Only complete sets of cells are averaged: a method counts at the seeds at which it has every target
under every condition, or every target on every pretraining dataset.
"""

from dataclasses import dataclass

import polars as pl

from bench.protocol import protocols
from bench.protocol.conditions import CONDITIONS
from bench.protocol.protocols import Protocol
from bench.protocol.spec import CLEAN, PRETRAINING
from bench.seismic import metrics
from leaderboard.load.samples import TEST
from leaderboard.tables.boards import Board
from leaderboard.tables.pairs import common_seeds
from leaderboard.tables.protocol_cells import FIT, cells_of
from leaderboard.tables.variants import Variant

UNTOUCHED = "none"
"""Method that leaves the foundation as it is: what the others are compared with."""


@dataclass(frozen=True, slots=True)
class Value:
    """The mean MAE of a method in one line of a table."""

    mae: float
    to_clean: float | None
    """Ratio to its own on the clean records."""
    to_untouched: float | None
    """Ratio to that of the untouched foundation on the same records."""


Line = tuple[str, dict[str, Value]]
"""What was tested, and the value of each method by variant key."""


def shift(board: Board) -> list[Line]:
    """A line for the clean records and for each condition; empty where no method has them all."""
    means = _means(board, protocols.get("shift"), "condition")
    labels = {CLEAN: "clean"} | {c.name: c.label for c in CONDITIONS}
    return _lines(means, labels, board)


def retention(board: Board) -> list[Line]:
    """A line for each pretraining dataset."""
    means = _means(board, protocols.get("retention"), "dataset")
    return _lines(means, {name: name for name in PRETRAINING}, board)


def _means(board: Board, protocol: Protocol, by: str) -> dict[tuple[str, str], float]:
    """Mean MAE by variant key and value of the column `by`, over targets and seeds: common ones for
    the methods that have them."""
    wanted = cells_of(protocol)
    together, seeds = common_seeds(board, protocol)
    rows = board.scored.filter(pl.col("kind") == "adaptation").join(wanted, on=[*FIT, *TEST])
    complete = (
        rows.group_by("variant", "seed")
        .len()
        .filter(
            pl.col("len") == wanted.height,
            pl.col("seed").is_in(list(seeds))
            | ~pl.col("variant").is_in([variant.key for variant in together]),
        )
        .select("variant", "seed")
    )
    found = (
        rows.join(complete, on=["variant", "seed"])
        .group_by("variant", by)
        .agg(pl.col(metrics.METRICS[0].name).mean())
    )
    return {(key, value): mae for key, value, mae in found.iter_rows()}


def _lines(means: dict[tuple[str, str], float], labels: dict[str, str], board: Board) -> list[Line]:
    untouched = next((v.key for v in board.variants if v.name == UNTOUCHED), "")
    keys = dict.fromkeys(key for key, _ in means)
    return [
        (
            label,
            {
                key: Value(
                    means[key, name],
                    _ratio(means[key, name], means.get((key, CLEAN))),
                    _ratio(means[key, name], means.get((untouched, name))),
                )
                for key in keys
            },
        )
        for name, label in labels.items()
        if means
    ]


def _ratio(value: float, other: float | None) -> float | None:
    return value / other if other else None


def tested(board: Board, lines: list[Line]) -> list[Variant]:
    """The methods that have values, in the board's order."""
    return [v for v in board.variants if lines and v.key in lines[0][1]]
