"""Gains in per cent over an opponent, cell by cell, as the paper's bar plots show them."""

from collections.abc import Iterable, Sequence

from bench.spec import PERCENTS, PRETRAINING, TARGETS
from leaderboard import statistics
from leaderboard.boards import Board, Variant, foundation_cells
from leaderboard.cells import Cell, Key
from leaderboard.resampling import Estimate
from leaderboard.stacks import stack
from leaderboard.standings import better
from leaderboard.views import Fit, View

Gains = dict[tuple[str, str], Estimate | float]
"""By (group, series) of a bar plot; a plain number where there are no per-sample scores."""


def of_cell(
    board: Board, variant: Variant, opponent: Variant, fit: Fit, test: str, metric: str
) -> Estimate | float | None:
    """Gain on one cell over common seeds; None if there are none."""
    seeds = [s for s in variant.seeds_of(fit) if s in opponent.seeds_of(fit)]
    if not seeds:
        return None
    both = stack(board, [variant, opponent], _one(fit, test), seeds)
    draws = both.resample(metric) if both else None
    if draws is not None and draws.scores[1, 0] != 0:
        return statistics.gain(draws, method=0, opponent=1, better=better(metric))
    ours = [c for s in seeds if (c := variant.cell(fit, test, s))]
    theirs = [c for s in seeds if (c := opponent.cell(fit, test, s))]
    return of_means(
        (getattr(c, metric) for c in ours), (getattr(c, metric) for c in theirs), metric
    )


def of_means(ours: Iterable[float], theirs: Iterable[float], metric: str) -> float | None:
    """Gain of means, without an interval."""
    a, b = list(ours), list(theirs)
    if not a or not b or sum(b) == 0:
        return None
    return float(statistics.gain_percent(sum(a) / len(a), sum(b) / len(b), better=better(metric)))


def low_data(table: dict[Key, Cell], variant: Variant, train: str, metric: str) -> Gains:
    """Over the board's opponent by (per cent, test set) out of distribution (Figs 5, 6, 14, 15)."""
    found: Gains = {}
    for percent in PERCENTS:
        for test in others(train):
            cell = table.get((variant.key, Fit(train, percent), test, metric))
            if cell and cell.gain:
                found[str(percent), test] = cell.gain
    return found


def in_distribution(
    board: Board, variant: Variant, opponent: Variant, metrics: Sequence[str]
) -> Gains:
    """By (target, metric) on the target itself (Fig. 3)."""
    found: Gains = {}
    for target in TARGETS:
        for metric in metrics:
            gain = of_cell(board, variant, opponent, Fit(target), target, metric)
            if gain is not None:
                found[target, metric] = gain
    return found


def pretraining(board: Board, scratch: Variant, metrics: Sequence[str]) -> Gains:
    """Of the foundation over training from scratch, by (dataset, metric) (Fig. 2)."""
    found: Gains = {}
    foundation = foundation_cells(board)
    for dataset in PRETRAINING:
        seeds = [s for s in scratch.seeds_of(Fit(dataset)) if (dataset, s) in foundation]
        cells = [c for s in seeds if (c := scratch.cell(Fit(dataset), dataset, s))]
        for metric in metrics:
            gain = of_means(
                (getattr(foundation[dataset, s], metric) for s in seeds),
                (getattr(c, metric) for c in cells),
                metric,
            )
            if gain is not None:
                found[dataset, metric] = gain
    return found


def others(train: str) -> tuple[str, ...]:
    return tuple(t for t in TARGETS if t != train)


def _one(fit: Fit, test: str) -> View:
    return View("cell", "", "", {fit: (test,)})
