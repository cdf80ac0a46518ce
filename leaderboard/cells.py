"""Every cell of every method: its mean, interval, and gain over the opponent."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from leaderboard import statistics
from leaderboard.boards import Board, Variant
from leaderboard.resampling import Estimate, Resamples
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
    draws = shared.resample_each(METRICS, resamples=RESAMPLES) if shared else {}
    for metric in METRICS:
        intervals: dict[str, Estimate] = {}
        gains: dict[str, Estimate] = {}
        if metric in draws:
            intervals = _by_key(known, statistics.means(draws[metric]))
            if test != fit.train:
                gains = _gains(draws[metric], known, board.opponent, metric)
        for variant in have:
            cells = [variant.cell(fit, test, s) for s in seeds]
            found[variant.key, fit, test, metric] = Cell(
                fmean(getattr(c, metric) for c in cells if c),
                intervals.get(variant.key),
                gains.get(variant.key),
            )


def _gains(
    draws: Resamples, known: Sequence[Variant], opponent: Variant | None, metric: str
) -> dict[str, Estimate]:
    """Of every method but the opponent."""
    if opponent is None or opponent not in known:
        return {}
    place = known.index(opponent)
    if draws.scores[place, 0] == 0:
        return {}
    gains = _by_key(known, statistics.gains(draws, opponent=place, better=better(metric)))
    return {key: gain for key, gain in gains.items() if key != opponent.key}


def _by_key(known: Sequence[Variant], found: Sequence[Estimate]) -> dict[str, Estimate]:
    return {v.key: estimate for v, estimate in zip(known, found, strict=True)}
