"""Every cell of every method: its mean, interval, and gain over the opponent."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from leaderboard import statistics
from leaderboard.boards import Board, Variant
from leaderboard.resampling import Estimate, Floats, Resamples, distribution
from leaderboard.stacks import stack
from leaderboard.standings import METRICS, better
from leaderboard.views import LOWDATA, Fit, of_cell

RESAMPLES = 1000
"""Enough for whiskers; ranks and gains of whole protocols use more."""

Key = tuple[str, Fit, str, str]
"""Variant key, fit, test dataset, metric."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One method on one cell, mean over seeds."""

    value: float
    interval: Estimate | None
    gain: Estimate | None
    """Over the opponent in per cent; None without per-sample scores on the same seeds."""


def table(board: Board) -> dict[Key, Cell]:
    """All cells of the low-data protocol; it has those of the others."""
    found: dict[Key, Cell] = {}
    for fit, tests in LOWDATA.tests.items():
        groups: dict[tuple[int, ...], list[Variant]] = defaultdict(list)
        for variant in board.variants:
            if seeds := variant.seeds_of(fit):
                groups[seeds].append(variant)
        for seeds, variants in groups.items():
            for test in tests:
                _fill(found, board, variants, seeds, fit, test)
    return found


def _fill(
    found: dict[Key, Cell],
    board: Board,
    variants: Sequence[Variant],
    seeds: Sequence[int],
    fit: Fit,
    test: str,
) -> None:
    have = [v for v in variants if all(v.cell(fit, test, s) for s in seeds)]
    known = [v for v in have if board.has_samples(v, fit, test, seeds)]
    shared = stack(board, known, of_cell(fit, test), seeds)
    for metric in METRICS:
        draws = shared.resample(metric, resamples=RESAMPLES) if shared else None
        for variant in have:
            cells = [variant.cell(fit, test, s) for s in seeds]
            value = fmean(getattr(c, metric) for c in cells if c)
            interval = gain = None
            if draws is not None and variant in known:
                interval = _interval(draws, known.index(variant))
                if test != fit.train:
                    gain = _gain(draws, known, variant, board.opponent, metric)
            found[variant.key, fit, test, metric] = Cell(value, interval, gain)


def _interval(draws: Resamples, method: int) -> Estimate:
    def score(scores: Floats) -> Floats:
        return np.asarray(scores[..., method, 0])

    return distribution(draws, score).estimate()


def _gain(
    draws: Resamples,
    known: Sequence[Variant],
    variant: Variant,
    opponent: Variant | None,
    metric: str,
) -> Estimate | None:
    if opponent is None or opponent is variant or opponent not in known:
        return None
    ours, theirs = known.index(variant), known.index(opponent)
    if draws.scores[theirs, 0] == 0:
        return None
    return statistics.gain(draws, method=ours, opponent=theirs, better=better(metric))
