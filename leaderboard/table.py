"""A board → one row a method: scores with intervals, gains, ranks, costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from statistics import median
from typing import Any

import polars as pl

from bench.protocol.columns import COSTS
from leaderboard.boards import Board, Variant
from leaderboard.entries import Entry
from leaderboard.standings import METRICS, Standing, standings
from leaderboard.views import RANKED

MACHINE_BOUND = ("peak_bytes", "samples_per_second", "train_seconds")
"""Costs that only compare on one machine."""
_ORDER = ("ood", "id", "lowdata")


@dataclass(frozen=True, slots=True)
class Row:
    """One method on the board."""

    variant: Variant
    standings: dict[str, Standing]
    """By protocol."""
    costs: dict[str, float | None]
    """Medians over the fits on the whole training set."""
    foreign_machine: bool
    """Its timings come from another machine than the board's."""
    seeds: tuple[int, ...]
    badge: str
    """published, local or incomplete."""


def rows(board: Board) -> list[Row]:
    """Best first: by MAE out of distribution, then in distribution, then with low data."""
    by_view = {view.name: standings(board, view) for view in RANKED}
    made = [_row(board, v, {n: s[v.key] for n, s in by_view.items()}) for v in board.variants]

    def place(row: Row) -> tuple[float, ...]:
        scores = [row.standings[name].scores.get("mae") for name in _ORDER]
        return tuple(s.value if s else inf for s in scores)

    return sorted(made, key=place)


def frame(made: Sequence[Row]) -> pl.DataFrame:
    """The table as data: a row a method, a column a number; unknown is null."""
    return pl.DataFrame([_flat(row) for row in made], schema=_schema(), orient="row")


def _row(board: Board, variant: Variant, own: dict[str, Standing]) -> Row:
    fits = list(variant.fits.values())
    here = [e for e in fits if e.machine == board.machine]
    whole = any(s.seeds for s in own.values()) and not variant.failed
    return Row(
        variant,
        own,
        _costs(here or fits),
        foreign_machine=not here,
        seeds=tuple(sorted({seed for _, seed in variant.fits})),
        badge=("published" if variant.published else "local") if whole else "incomplete",
    )


def _costs(entries: Sequence[Entry]) -> dict[str, float | None]:
    used = [e for e in entries if e.percent == 100] or entries
    values: dict[str, float | None] = {}
    for column in COSTS:
        known = [v for e in used if (v := e.costs[column.name]) is not None]
        values[column.name] = median(known) if known else None
    return values


def _flat(row: Row) -> dict[str, Any]:
    method = row.variant.entries[0].method
    values: dict[str, Any] = {
        "method": row.variant.label,
        "category": row.variant.card.category,
        "distribution": method.distribution if method else None,
        "code": method.code if method else None,
        "record": row.badge,
        "seeds": len(row.seeds),
    }
    for view in RANKED:
        standing = row.standings[view.name]
        best, worst = standing.rank or (None, None)
        values |= {f"{view.name}_rank": best, f"{view.name}_worst_rank": worst}
        for metric in METRICS:
            score, gain = standing.scores.get(metric), standing.gains.get(metric)
            estimate = score.estimate if score else None
            values |= {
                f"{view.name}_{metric}": score.value if score else None,
                f"{view.name}_{metric}_low": estimate.low if estimate else None,
                f"{view.name}_{metric}_high": estimate.high if estimate else None,
                f"{view.name}_{metric}_gain_percent": gain.value if gain else None,
                f"{view.name}_{metric}_gain_low": gain.low if gain else None,
                f"{view.name}_{metric}_gain_high": gain.high if gain else None,
            }
        comparison = standing.comparison
        values[f"{view.name}_probability_better"] = (
            comparison.probability_better if comparison else None
        )
    return values | row.costs


def _schema() -> dict[str, pl.DataType]:
    text, whole, real = pl.String(), pl.Int64(), pl.Float64()
    schema: dict[str, pl.DataType] = {
        "method": text,
        "category": text,
        "distribution": text,
        "code": text,
        "record": text,
        "seeds": whole,
    }
    for view in RANKED:
        schema |= {f"{view.name}_rank": whole, f"{view.name}_worst_rank": whole}
        for metric in METRICS:
            for part in ("", "_low", "_high", "_gain_percent", "_gain_low", "_gain_high"):
                schema[f"{view.name}_{metric}{part}"] = real
        schema[f"{view.name}_probability_better"] = real
    return schema | {column.name: real for column in COSTS}
