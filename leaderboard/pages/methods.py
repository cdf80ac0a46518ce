"""The page of one method: what it is, where it stands, and all its cells."""

from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl
from markupsafe import Markup

from bench.protocol.columns import COUNTED
from bench.protocol.protocols import others
from bench.protocol.spec import PERCENTS, TARGETS
from bench.seismic import metrics
from leaderboard.figures import bars, palette
from leaderboard.load.measurements import Measured
from leaderboard.pages import long_tables
from leaderboard.pages.site_files import Site
from leaderboard.pages.urls import Urls
from leaderboard.tables import advice, gains, text
from leaderboard.tables.boards import Board
from leaderboard.tables.cells import CellScore, Key
from leaderboard.tables.overview import Row, configs_tried, ranked
from leaderboard.tables.speeds import Speed
from leaderboard.tables.variants import Variant


def write(
    site: Site,
    board: Board,
    urls: Urls,
    row: Row,
    table: dict[Key, CellScore],
    speeds: Sequence[tuple[Measured, Speed]],
) -> None:
    """Write the page of the method of this row; `speeds` are those that were measured."""
    variant = row.variant
    reference = board.reference
    cells = _cells(board, variant)
    site.page(
        urls.method(board, variant),
        "method",
        row=row,
        variant=variant,
        sign=palette.sign(variant),
        views=ranked(),
        metrics=metrics.METRICS,
        costs=COUNTED,
        speeds=speeds,
        cells=long_tables.cells(cells),
        example=cells[0][0]["run_id"] if cells else None,
        bars=_bars(table, variant) if reference and reference is not variant else [],
        reference=reference,
        configs_tried=configs_tried(board, variant),
        others=row.failed,
        command=advice.command(board, variant),
        papers=text.papers(variant.source),
        targets=TARGETS,
        percents=PERCENTS,
        switch=[(m.name, m.label) for m in metrics.METRICS],
        **urls.common(board),
    )


def _cells(board: Board, variant: Variant) -> list[list[dict[str, Any]]]:
    """The cells of each finished fit, in the order of datasets, per cents and seeds."""
    own = board.scored.filter(pl.col("variant") == variant.key)
    rank = {name: i for i, name in enumerate(_targets_first(own["train"].unique().to_list()))}
    fits: dict[str, list[dict[str, Any]]] = {}
    for row in own.iter_rows(named=True):
        fits.setdefault(row["run_id"], []).append(row)
    ordered = sorted(
        fits.values(),
        key=lambda rows: (rank[rows[0]["train"]], rows[0]["percent"], rows[0]["seed"]),
    )
    return [sorted(rows, key=lambda r: r["dataset"] != r["train"]) for rows in ordered]


def _targets_first(names: Iterable[str]) -> list[str]:
    """Datasets: targets in their order, then the others."""
    rank = {name: i for i, name in enumerate(TARGETS)}
    return sorted(names, key=lambda name: (rank.get(name, len(rank)), name))


def _bars(table: dict[Key, CellScore], variant: Variant) -> list[tuple[str, str, Markup, Markup]]:
    """(metric, training target, figure, key of its series)."""
    made = []
    for metric in (m.name for m in metrics.METRICS):
        for train in TARGETS:
            found = gains.low_data(table, variant, train, metric)
            if found:
                tests = others(train)
                colours = [TARGETS.index(t) for t in tests]
                percents = [str(p) for p in PERCENTS if any(g == str(p) for g, _ in found)]
                figure = bars.gains(
                    found,
                    percents,
                    tests,
                    title=f"Gain in {text.label(metric)} of {variant.label}, trained on {train}",
                    head=f"trained on {text.dataset(train)}",
                    axis="training data (%)",
                    colours=colours,
                    width=560,
                    height=280,
                )
                made.append((metric, train, figure, bars.legend(tests, colours)))
    return made
