"""Gains in per cent over an opponent, cell by cell, as the paper's bar plots show them."""

from collections.abc import Sequence
from statistics import fmean

from bench.protocol.spec import PERCENTS, TARGETS
from leaderboard import statistics
from leaderboard.boards import Board, Variant
from leaderboard.cells import Cell, Key
from leaderboard.resampling import Estimate
from leaderboard.stacks import stack
from leaderboard.standings import better
from leaderboard.views import Fit, of_cell

Gains = dict[tuple[str, str], Estimate | float]
"""By (group, series) of a bar plot; a plain number where there are no per-sample scores."""


def low_data(table: dict[Key, Cell], variant: Variant, train: str, metric: str) -> Gains:
    """Over the board's opponent by (per cent, test set) out of distribution (Figs 5, 6, 14, 15)."""
    found: Gains = {}
    for percent in PERCENTS:
        for test in others(train):
            cell = table.get((variant.key, Fit(train, percent), test, metric))
            if cell and cell.gain:
                found[str(percent), test] = cell.gain
    return found


def own(
    board: Board,
    variant: Variant,
    opponent: Variant,
    datasets: Sequence[str],
    metrics: Sequence[str],
) -> Gains:
    """By (dataset, metric), trained and tested on each dataset (Figs 2 and 3)."""
    found: Gains = {}
    for dataset in datasets:
        for metric in metrics:
            gain = _of_cell(board, variant, opponent, Fit(dataset), dataset, metric)
            if gain is not None:
                found[dataset, metric] = gain
    return found


def others(train: str) -> tuple[str, ...]:
    return tuple(t for t in TARGETS if t != train)


def _of_cell(
    board: Board, variant: Variant, opponent: Variant, fit: Fit, test: str, metric: str
) -> Estimate | float | None:
    """Gain on one cell over common seeds; None if there are none."""
    seeds = [s for s in variant.seeds_of(fit) if s in opponent.seeds_of(fit)]
    if not seeds:
        return None
    both = stack(board, [variant, opponent], of_cell(fit, test), seeds)
    draws = both.resample(metric) if both else None
    if draws is not None and draws.scores[1, 0] != 0:
        return statistics.gain(draws, method=0, opponent=1, better=better(metric))
    ours = [c for s in seeds if (c := variant.cell(fit, test, s))]
    theirs = [c for s in seeds if (c := opponent.cell(fit, test, s))]
    return _of_means(
        [getattr(c, metric) for c in ours], [getattr(c, metric) for c in theirs], metric
    )


def _of_means(ours: Sequence[float], theirs: Sequence[float], metric: str) -> float | None:
    """Without an interval."""
    if not ours or not theirs or fmean(theirs) == 0:
        return None
    return float(statistics.gain_percent(fmean(ours), fmean(theirs), better=better(metric)))
