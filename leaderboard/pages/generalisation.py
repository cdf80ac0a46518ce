"""Out of distribution: train × test heat maps, the real data's own, and spatial information."""

from collections.abc import Mapping

import polars as pl
from markupsafe import Markup

from bench.protocol.spec import DATASETS, TARGETS
from bench.seismic import metrics
from leaderboard.figures import heat, information, palette
from leaderboard.pages.site_files import Site
from leaderboard.pages.urls import Urls
from leaderboard.tables import cells as cell_tables
from leaderboard.tables import text
from leaderboard.tables.boards import Board
from leaderboard.tables.variants import Variant

Cells = dict[tuple[str, str], float]
"""Mean over seeds by (train, test)."""


def write(
    site: Site,
    board: Board,
    urls: Urls,
    information_mps: Mapping[str, float],
    reference: pl.DataFrame,
) -> None:
    """Write the page; `information_mps` is the spatial information of each dataset."""
    blocks = []
    for metric in (m.name for m in metrics.METRICS):
        cells = {v.key: matrix(board, v, metric) for v in board.variants}
        known = [x for values in cells.values() for x in values.values()]
        if known:
            ends = _ends(known, metric)
            figures = [_heat(v, cells[v.key], metric, ends) for v in board.variants if cells[v.key]]
            blocks.append((metric, figures))
    site.page(
        urls.page(board, "ood"),
        "generalisation",
        metrics=blocks,
        switch=[(m, text.label(m)) for m, _ in blocks],
        variants=[(v, palette.sign(v)) for v in board.variants],
        scatter=_scatter(board, information_mps),
        reference=[(m, _reference(reference, m)) for m in _published(reference)],
        reference_switch=[(m, text.label(m)) for m in _published(reference)],
        **urls.common(board),
    )


def matrix(board: Board, variant: Variant, metric: str) -> Cells:
    """Fits on the whole training set of each target, tested on each."""
    values: Cells = {}
    for train in TARGETS:
        for test in TARGETS:
            scores = cell_tables.means(board, train, 100, test).get(variant.key)
            if scores and scores[metric] is not None:
                values[train, test] = scores[metric]
    return values


def _published(frame: pl.DataFrame) -> list[str]:
    """Metrics that published numbers have."""
    known = set(frame["metric"].to_list())
    return [m.name for m in metrics.METRICS if m.name in known]


def _ends(known: list[float], metric: str) -> tuple[float, float]:
    """Good scores have the light colours, whichever direction is better."""
    return (
        (min(known), max(known))
        if text.column(metric).better == "higher"
        else (max(known), min(known))
    )


def _named(cells: Cells) -> Cells:
    return {(text.dataset(a), text.dataset(b)): v for (a, b), v in cells.items()}


def _heat(variant: Variant, cells: Cells, metric: str, ends: tuple[float, float]) -> Markup:
    names = [text.dataset(t) for t in TARGETS]
    return heat.heat(
        _named(cells),
        names,
        names,
        title=f"{text.label(metric)} of {variant.label}, train by test dataset",
        row_label="trained on",
        column_label="tested on",
        ends=ends,
        head=variant.label,
        switchable=text.switchable(metric),
    )


def _reference(frame: pl.DataFrame, metric: str) -> Markup:
    here = frame.filter(
        pl.col("metric") == metric, pl.col("unit") == "", pl.col("backbone") == "inversionnet"
    )
    cells: Cells = {
        (row["train_dataset"], row["test_dataset"]): row["value"] for row in here.to_dicts()
    }
    names = [text.dataset(d) for d in DATASETS]
    label = text.label(metric)
    return heat.heat(
        _named(cells),
        names,
        names,
        title=f"{label} of published InversionNet checkpoints on real OpenFWI data",
        row_label="trained on",
        column_label="tested on",
        ends=_ends(list(cells.values()), metric),
        head=f"{label}, published InversionNet checkpoints, real OpenFWI data",
        cell=78,
        switchable=text.switchable(metric),
    )


def _scatter(board: Board, information_mps: Mapping[str, float]) -> Markup | None:
    points = []
    for variant in board.variants:
        for dataset, complexity in information_mps.items():
            scores = cell_tables.means(board, dataset, 100, dataset).get(variant.key)
            if scores and scores["mae"] is not None:
                points.append((variant, dataset, complexity, scores["mae"]))
    return information.scatter(points) if points else None
