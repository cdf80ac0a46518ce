"""The low-data page: score against the part of the training data, and the paper's curves."""

from collections.abc import Sequence
from math import inf

import polars as pl
from markupsafe import Markup

from bench.protocol.protocols import others
from bench.protocol.spec import PERCENTS, TARGETS
from bench.seismic import metrics
from leaderboard.figures import lowdata as figures
from leaderboard.figures import palette
from leaderboard.pages.site_files import Site
from leaderboard.pages.urls import Urls
from leaderboard.tables.advice import Parts
from leaderboard.tables.boards import Board
from leaderboard.tables.cells import CellScore, Key
from leaderboard.tables.standings import Standing
from leaderboard.tables.variants import Variant

Line = tuple[Variant, Standing, Standing]
"""A method, out of and in distribution."""
_PRINTED = {"FFT-PFM": "6 3", "LoRA-PFM": "2 3", "Baseline": "8 3 1 3"}
"""Methods of the paper by their dashes: they have no colour."""


def write(
    site: Site,
    board: Board,
    urls: Urls,
    table: dict[Key, CellScore],
    paper: pl.DataFrame,
    parts: Parts,
) -> None:
    """Write panels for each training target, test set and metric."""
    blocks = [
        (
            metric,
            train,
            [_panel(board, table, train, test, metric, paper) for test in _order(train)],
        )
        for metric in (m.name for m in metrics.METRICS)
        for train in TARGETS
    ]
    site.page(
        urls.page(board, "lowdata"),
        "lowdata",
        blocks=blocks,
        means=_mean_curves(board, parts),
        tables=_tables(board, parts),
        switch=[(m.name, m.label) for m in metrics.METRICS],
        targets=TARGETS,
        variants=[(v, palette.sign(v)) for v in board.variants],
        printed=[(name, figures.dash(dashes)) for name, dashes in _PRINTED.items()],
        **urls.common(board),
    )


def _mean_curves(board: Board, found: Parts) -> list[Markup]:
    """MAE averaged over cells, out of and in distribution."""
    made = []
    for own, head in ((False, "out of distribution, mean of 12 cells"), (True, "in distribution")):
        curves = []
        for variant in board.variants:
            scores = {
                p: score
                for p in PERCENTS
                if (own, p) in found and (score := found[own, p][variant.key].scores.get("mae"))
            }
            if scores:
                curves.append(
                    figures.Curve(
                        variant,
                        {p: s.value for p, s in scores.items()},
                        {p: s.estimate for p, s in scores.items() if s.estimate},
                    )
                )
        if curves:
            title = f"MAE {'in' if own else 'out of'} distribution, mean over cells"
            made.append(figures.plot(curves, (), title=title, head=head, metric="mae"))
    return made


def _tables(board: Board, found: Parts) -> list[tuple[int, list[Line]]]:
    """A ranked table for each fraction: best out of distribution first."""
    made = []
    for percent in (p for p in PERCENTS if (False, p) in found):
        away, own = found[False, percent], found[True, percent]
        lines = [
            (v, away[v.key], own[v.key])
            for v in board.variants
            if "mae" in away[v.key].scores or "mae" in own[v.key].scores
        ]

        def error(line: Line) -> float:
            score = line[1].scores.get("mae")
            return score.value if score else inf

        if lines:
            made.append((percent, sorted(lines, key=error)))
    return made


def _order(train: str) -> tuple[str, ...]:
    return (train, *others(train))


def _panel(
    board: Board,
    table: dict[Key, CellScore],
    train: str,
    test: str,
    metric: str,
    paper: pl.DataFrame,
) -> Markup:
    curves = [c for v in board.variants if (c := _curve(table, v, train, test, metric)).values]
    return figures.panel(
        curves, printed(paper, train, test, metric), train=train, test=test, metric=metric
    )


def _curve(
    table: dict[Key, CellScore], variant: Variant, train: str, test: str, metric: str
) -> figures.Curve:
    cells = {p: table.get((variant.key, train, p, test, metric)) for p in PERCENTS}
    return figures.Curve(
        variant,
        {p: c.value for p, c in cells.items() if c},
        {p: c.interval for p, c in cells.items() if c and c.interval},
    )


def printed(paper: pl.DataFrame, train: str, test: str, metric: str) -> Sequence[figures.Printed]:
    """The paper's numbers for this panel, as printed."""
    here = paper.filter(
        pl.col("train_dataset") == train,
        pl.col("test_dataset") == test,
        pl.col("metric") == metric,
        pl.col("fraction_percent").is_not_null(),
    )
    made = []
    for place, (method, dashes) in enumerate(_PRINTED.items()):
        rows = here.filter(pl.col("method") == method).sort("fraction_percent").to_dicts()
        if rows:
            values = {row["fraction_percent"]: row["value"] for row in rows}
            suspect = frozenset(row["fraction_percent"] for row in rows if row["suspect"])
            made.append(figures.Printed(method, place, values, suspect, dashes))
    return made
