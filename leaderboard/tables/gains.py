"""Gains in per cent over a reference, cell by cell, as the paper's bar plots show them."""

from collections.abc import Sequence

from bench.protocol.protocols import others
from bench.protocol.spec import PERCENTS, TestSet
from bench.seismic import metrics
from leaderboard.stats.comparisons import gain_percent
from leaderboard.stats.estimates import Estimate
from leaderboard.tables import values
from leaderboard.tables.boards import Board
from leaderboard.tables.cells import CellScore, Key, means
from leaderboard.tables.protocol_cells import one_cell
from leaderboard.tables.variants import Variant

Gains = dict[tuple[str, str], Estimate | float]
"""By (group, series) of a bar plot; a plain number where there are no per-sample scores."""


def low_data(table: dict[Key, CellScore], variant: Variant, train: str, metric: str) -> Gains:
    """Gains over the reference by (per cent, test set) out of distribution (Figs 5, 6, 14, 15)."""
    found: Gains = {}
    for percent in PERCENTS:
        for test in others(train):
            cell = table.get((variant.key, train, percent, test, metric))
            if cell and cell.gain:
                found[str(percent), test] = cell.gain
    return found


def own(
    board: Board,
    variant: Variant,
    reference: Variant,
    datasets: Sequence[str],
    names: Sequence[str],
) -> Gains:
    """Gains by (dataset, metric), trained and tested on each dataset (Figs 2 and 3)."""
    found: Gains = {}
    for dataset in datasets:
        for name in names:
            gain = _of_cell(board, variant, reference, dataset, metrics.get(name))
            if gain is not None:
                found[dataset, name] = gain
    return found


def _of_cell(
    board: Board, variant: Variant, reference: Variant, dataset: str, metric: metrics.Metric
) -> Estimate | float | None:
    """Gain on one cell over common seeds; None if there are none."""
    runs = (board.runs(v, dataset, 100) for v in (variant, reference))
    seeds = sorted(set.intersection(*map(set, runs)))
    if not seeds:
        return None
    protocol = one_cell(dataset, 100, TestSet(dataset=dataset))
    gained = values.gains(board, [variant], protocol, seeds, metric, reference)
    if gained is not None:
        return gained.moments().estimates()[0]
    scores = means(board, dataset, 100, dataset)
    ours = scores.get(variant.key, {}).get(metric.name)
    theirs = scores.get(reference.key, {}).get(metric.name)
    if ours is None or not theirs:
        return None
    return float(gain_percent(ours, theirs, better=metric.better or "lower"))
