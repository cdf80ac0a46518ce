"""Choices of hyper-parameters on validation data: every config tried."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import polars as pl
from markupsafe import Markup

from bench.seismic import metrics
from leaderboard.figures import heat
from leaderboard.pages.site_files import Site
from leaderboard.pages.urls import Urls
from leaderboard.tables.boards import Board
from leaderboard.tables.sweeps import Tried, configs, varying


def write(site: Site, board: Board, urls: Urls, paper: pl.DataFrame) -> None:
    """Write heat maps over the two options with most values, and a table of all configs."""
    blocks = []
    for name, fits in board.sweeps.items():
        tried = configs(fits, board.cells)
        options = varying(tried)
        blocks.append((name, options, tried, _heats(name, options, tried)))
    site.page(
        urls.page(board, "sweep"),
        "sweep",
        blocks=blocks,
        metrics=metrics.METRICS,
        printed=_printed(paper),
        **urls.common(board),
    )


def _heats(name: str, options: Sequence[str], tried: Sequence[Tried]) -> list[Markup]:
    """A heat map for each choice of the other options."""
    complete = [t for t in tried if t.complete]
    if len(options) < 2 or not complete:
        return []
    counts = {o: len({repr(t.config.get(o)) for t in complete}) for o in options}
    first, second = sorted(sorted(options, key=lambda o: (-counts[o], o))[:2], reverse=True)
    rest = [o for o in options if o not in (first, second)]
    groups: dict[str, list[Tried]] = defaultdict(list)
    for t in complete:
        groups[", ".join(f"{o} = {_text(t.config.get(o))}" for o in rest)].append(t)
    ends = max(t.scores["mae"] for t in complete), min(t.scores["mae"] for t in complete)
    return [
        _heat(name, (first, second), groups[head], ends, complete[0], head)
        for head in sorted(groups)
    ]


def _heat(
    name: str,
    axes: tuple[str, str],
    tried: Sequence[Tried],
    ends: tuple[float, float],
    best: Tried,
    head: str,
) -> Markup:
    def place(t: Tried) -> tuple[str, str]:
        return _text(t.config.get(axes[0])), _text(t.config.get(axes[1]))

    where = f" with {head}" if head else ""
    return heat.heat(
        {place(t): t.scores["mae"] for t in tried},
        _ordered([t.config.get(axes[0]) for t in tried]),
        _ordered([t.config.get(axes[1]) for t in tried]),
        title=f"Validation MAE of {name} by {axes[0]} and {axes[1]}{where}",
        row_label=axes[0],
        column_label=axes[1],
        ends=ends,
        digits=4,
        head=head or "validation MAE",
        marked=place(best) if best in tried else None,
        left=100,
    )


def _ordered(values: Sequence[Any]) -> list[str]:
    """Each once: numbers by size, the rest by name."""
    numbers = sorted({v for v in values if isinstance(v, int | float)})
    rest = sorted({_text(v) for v in values if not isinstance(v, int | float)})
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
