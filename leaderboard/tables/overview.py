"""The overview of a board: one row per method, with scores, gains, ranks and costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from statistics import median
from typing import Any

import polars as pl

from bench.protocol import protocols
from bench.protocol.columns import COUNTED
from bench.protocol.protocols import Protocol
from bench.protocol.spec import TARGETS
from bench.seismic import metrics
from leaderboard.tables import data_fractions
from leaderboard.tables.boards import Board
from leaderboard.tables.standings import Standing, standings
from leaderboard.tables.variants import Variant

_ORDER = ("ood", "id", "lowdata")


@dataclass(frozen=True, slots=True)
class Row:
    """One method on the board."""

    variant: Variant
    standings: dict[str, Standing]
    """By protocol."""
    costs: dict[str, float | None]
    """Medians of what is counted, over the fits on the whole training set of the targets; of bytes
    saved, over those in the board's numerics."""
    seeds: tuple[int, ...]
    failed: tuple[dict[str, Any], ...]
    """Records that did not end well."""
    badge: str
    """published, local or incomplete."""


def ranked() -> tuple[Protocol, ...]:
    """The protocols of the front page."""
    first, rest = ("id", "ood"), ("lowdata", "retention", "shift")
    return (
        *(protocols.get(name) for name in first),
        data_fractions.protocol(10, own=False),
        *(protocols.get(name) for name in rest),
    )


def rows(board: Board) -> list[Row]:
    """Rows of the board, best first: by MAE out of distribution, in distribution, low data."""
    by_protocol = {protocol.name: standings(board, protocol) for protocol in ranked()}
    made = [
        _row(board, v, {name: found[v.key] for name, found in by_protocol.items()})
        for v in board.variants
    ]
    first = metrics.METRICS[0].name

    def place(row: Row) -> tuple[float, ...]:
        scores = [row.standings[name].scores.get(first) for name in _ORDER]
        return tuple(s.value if s else inf for s in scores)

    return sorted(made, key=place)


def frame(made: Sequence[Row]) -> pl.DataFrame:
    """The table as data: a row a method, a column a number; unknown is null."""
    return pl.DataFrame([_flat(row) for row in made], schema=_schema(), orient="row")


def configs_tried(board: Board, variant: Variant) -> int:
    """Number of configs of a method tried on validation data, its own included.

    Counted from the fits with a holdout that are on the board.
    """
    held = board.sweeps.get(variant.name)
    if held is None:
        return 1
    tried = held.filter(pl.col("distribution") == variant.distribution, pl.col("status") == "done")
    return len({*tried["config"].to_list(), _own_config(board, variant)})


def _own_config(board: Board, variant: Variant) -> str:
    return str(board.fits.filter(pl.col("variant") == variant.key)["config"][0])


def _row(board: Board, variant: Variant, own: dict[str, Standing]) -> Row:
    entries = board.entries(variant)
    failed = tuple(e for e in entries if e["status"] != "done")
    done = [e for e in entries if e["status"] == "done"]
    whole = any(s.seeds for s in own.values()) and not failed
    published = all(e["origin"] == "published" for e in entries)
    return Row(
        variant,
        own,
        _costs(done, board.numerics),
        seeds=tuple(sorted({e["seed"] for e in done})),
        failed=failed,
        badge=("published" if published else "local") if whole else "incomplete",
    )


def _costs(entries: Sequence[dict[str, Any]], numerics: str | None) -> dict[str, float | None]:
    """Medians of the fits that are alike."""
    alike = _alike(entries)
    comparable = [e for e in alike if e["numerics"] == numerics]
    values: dict[str, float | None] = {}
    for column in COUNTED:
        used = comparable if column.name == "saved_bytes_per_sample" else comparable or alike
        known = [v for e in used if (v := e[column.name]) is not None]
        values[column.name] = median(known) if known else None
    return values


def _alike(entries: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """Fits on all of a target, else on a part of one: never those on a pretraining dataset."""
    targets = [e for e in entries if e["train"] in TARGETS]
    return [e for e in targets if e["percent"] == 100] or targets


def _flat(row: Row) -> dict[str, Any]:
    values: dict[str, Any] = {
        "method": row.variant.label,
        "category": row.variant.category,
        "distribution": row.variant.distribution,
        "version": row.variant.version,
        "record": row.badge,
        "seeds": len(row.seeds),
    }
    for protocol in ranked():
        standing = row.standings[protocol.name]
        best, worst = standing.rank or (None, None)
        values |= {f"{protocol.name}_rank": best, f"{protocol.name}_worst_rank": worst}
        for metric in metrics.METRICS:
            name = f"{protocol.name}_{metric.name}"
            score, gain = standing.scores.get(metric.name), standing.gains.get(metric.name)
            estimate = score.estimate if score else None
            values |= {
                name: score.value if score else None,
                f"{name}_low": estimate.low if estimate else None,
                f"{name}_high": estimate.high if estimate else None,
                f"{name}_gain_percent": gain.value if gain else None,
                f"{name}_gain_low": gain.low if gain else None,
                f"{name}_gain_high": gain.high if gain else None,
            }
        ratio, comparison = standing.ratio, standing.comparison
        values |= {
            f"{protocol.name}_ratio_to_floor": ratio.value if ratio else None,
            f"{protocol.name}_ratio_low": ratio.low if ratio else None,
            f"{protocol.name}_ratio_high": ratio.high if ratio else None,
            f"{protocol.name}_mean_rank": standing.mean_rank,
            f"{protocol.name}_probability_better": (
                comparison.probability_better if comparison else None
            ),
        }
    return values | row.costs


def _schema() -> dict[str, pl.DataType]:
    text, whole, real = pl.String(), pl.Int64(), pl.Float64()
    schema: dict[str, pl.DataType] = {
        "method": text,
        "category": text,
        "distribution": text,
        "version": whole,
        "record": text,
        "seeds": whole,
    }
    for protocol in ranked():
        schema |= {f"{protocol.name}_rank": whole, f"{protocol.name}_worst_rank": whole}
        for metric in metrics.METRICS:
            for part in ("", "_low", "_high", "_gain_percent", "_gain_low", "_gain_high"):
                schema[f"{protocol.name}_{metric.name}{part}"] = real
        for part in ("ratio_to_floor", "ratio_low", "ratio_high", "mean_rank"):
            schema[f"{protocol.name}_{part}"] = real
        schema[f"{protocol.name}_probability_better"] = real
    return schema | {column.name: real for column in COUNTED}
