"""Out of distribution: train × test heat maps, the real data's own, and spatial information."""

from collections.abc import Mapping
from statistics import fmean

import polars as pl
from markupsafe import Markup

from bench.protocol.spec import DATASETS, TARGETS
from leaderboard import palette, text
from leaderboard.boards import Board, Variant
from leaderboard.figures import heat, information
from leaderboard.pages.places import Places
from leaderboard.site import Site
from leaderboard.standings import METRICS
from leaderboard.views import Fit

Cells = dict[tuple[str, str], float]
"""Mean over seeds by (train, test)."""


def write(
    site: Site,
    board: Board,
    places: Places,
    information_mps: Mapping[str, float],
    reference: pl.DataFrame,
) -> None:
    """Write the page; `information_mps` is the spatial information of each dataset."""
    metrics = []
    for metric in METRICS:
        cells = {v.key: matrix(v, metric) for v in board.variants}
        known = [x for values in cells.values() for x in values.values()]
        if known:
            ends = _ends(known, metric)
            figures = [_heat(v, cells[v.key], metric, ends) for v in board.variants if cells[v.key]]
            metrics.append((metric, figures))
    site.page(
        places.page(board, "ood"),
        "generalisation",
        metrics=metrics,
        switch=[(m, text.LABELS[m]) for m, _ in metrics],
        variants=[(v, palette.sign(v)) for v in board.variants],
        scatter=_scatter(board, information_mps),
        reference=[(m, _reference(reference, m)) for m in METRICS],
        **places.common(board),
    )


def matrix(variant: Variant, metric: str) -> Cells:
    """Fits on the whole training set of each target, tested on each."""
    values: Cells = {}
    seeds = sorted({seed for _, seed in variant.fits})
    for train in TARGETS:
        for test in TARGETS:
            cells = [c for s in seeds if (c := variant.cell(Fit(train), test, s))]
            if cells:
                values[train, test] = fmean(getattr(c, metric) for c in cells)
    return values


def _ends(known: list[float], metric: str) -> tuple[float, float]:
    """Good scores have the light colours, whichever direction is better."""
    return (min(known), max(known)) if metric == "ssim" else (max(known), min(known))


def _named(cells: Cells) -> Cells:
    return {(text.dataset(a), text.dataset(b)): v for (a, b), v in cells.items()}


def _heat(variant: Variant, cells: Cells, metric: str, ends: tuple[float, float]) -> Markup:
    names = [text.dataset(t) for t in TARGETS]
    return heat.heat(
        _named(cells),
        names,
        names,
        title=f"{text.LABELS[metric]} of {variant.label}, train by test dataset",
        row_label="trained on",
        column_label="tested on",
        ends=ends,
        head=variant.label,
    )


def _reference(frame: pl.DataFrame, metric: str) -> Markup:
    here = frame.filter(
        pl.col("metric") == metric, pl.col("unit") == "", pl.col("backbone") == "inversionnet"
    )
    cells: Cells = {
        (row["train_dataset"], row["test_dataset"]): row["value"] for row in here.to_dicts()
    }
    names = [text.dataset(d) for d in DATASETS]
    label = text.LABELS[metric]
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
    )


def _scatter(board: Board, information_mps: Mapping[str, float]) -> Markup | None:
    points = []
    for variant in board.variants:
        for dataset, complexity in information_mps.items():
            cells = [
                c
                for fit, seed in variant.fits
                if fit == Fit(dataset) and (c := variant.cell(fit, dataset, seed))
            ]
            if cells:
                points.append((variant, dataset, complexity, fmean(c.mae for c in cells)))
    return information.scatter(points) if points else None
