"""Choices of hyper-parameters on validation data: every config tried."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import polars as pl
from markupsafe import Markup

from bench.record import Cell
from leaderboard import text
from leaderboard.boards import Board
from leaderboard.entries import Entry
from leaderboard.figures import heat
from leaderboard.pages.places import Places
from leaderboard.site import Site


@dataclass(frozen=True, slots=True)
class Tried:
    """One config: mean over datasets and seeds."""

    config: dict[str, Any]
    mae: float
    rmse: float
    ssim: float
    fits: int


def write(site: Site, board: Board, places: Places, paper: pl.DataFrame) -> None:
    """A heat map where two options vary, and a table of all configs."""
    blocks = []
    for name, entries in board.sweeps.items():
        tried = configs(entries)
        options = varying(tried)
        blocks.append((name, options, tried, _heat(name, options, tried)))
    site.page(
        places.page(board, "sweep"),
        "sweep",
        blocks=blocks,
        printed=_printed(paper),
        **places.common(board),
    )


def configs(entries: Sequence[Entry]) -> list[Tried]:
    """Best validation MAE first."""
    groups: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.status == "done" and entry.cells:
            groups[entry.variant].append(entry)
    tried = []
    for group in groups.values():
        cells: list[Cell] = [c for e in group for c in e.cells.values()]
        method = group[0].method
        tried.append(
            Tried(
                method.config if method else {},
                fmean(c.mae for c in cells),
                fmean(c.rmse for c in cells),
                fmean(c.ssim for c in cells),
                len(group),
            )
        )
    return sorted(tried, key=lambda t: (t.mae, text.config(t.config)))


def varying(tried: Sequence[Tried]) -> list[str]:
    """Options that differ between configs."""
    names = sorted({key for t in tried for key in t.config})
    return [n for n in names if len({repr(t.config.get(n)) for t in tried}) > 1]


def _heat(name: str, options: Sequence[str], tried: Sequence[Tried]) -> Markup | None:
    if len(options) != 2:
        return None
    first, second = sorted(options, reverse=True)
    cells = {(_text(t.config.get(first)), _text(t.config.get(second))): t.mae for t in tried}
    rows = _ordered({t.config.get(first) for t in tried})
    columns = _ordered({t.config.get(second) for t in tried})
    values = list(cells.values())
    best = tried[0]
    return heat.heat(
        cells,
        rows,
        columns,
        title=f"Validation MAE of {name} by {first} and {second}",
        row_label=first,
        column_label=second,
        ends=(max(values), min(values)),
        digits=4,
        head="validation MAE; the frame marks the best",
        marked=(_text(best.config.get(first)), _text(best.config.get(second))),
        cell=70,
        left=60,
    )


def _ordered(values: set[Any]) -> list[str]:
    """Numbers by size, the rest by name."""
    numbers = sorted(v for v in values if isinstance(v, int | float))
    rest = sorted(str(v) for v in values if not isinstance(v, int | float))
    return [_text(v) for v in numbers] + rest


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _printed(paper: pl.DataFrame) -> list[dict[str, str]]:
    """Table II as printed: a row for each rank."""
    table = paper.filter(pl.col("table") == "II")
    rows: dict[str, dict[str, str]] = {}
    for row in table.to_dicts():
        made = rows.setdefault(row["method"], {"method": row["method"], "flag": row["flag"] or ""})
        made[row["metric"]] = row["printed"]
    return list(rows.values())
