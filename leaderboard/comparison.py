"""`bench compare`: methods side by side on one protocol, with what the scores allow to say."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from bench.errors import BenchError
from bench.protocol.spec import PERCENTS
from leaderboard import curves, statistics
from leaderboard.boards import Board, Variant
from leaderboard.curves import Crossover, LowDataCurve
from leaderboard.entries import FOUNDATION
from leaderboard.resampling import Estimate, Floats, Resamples, distribution
from leaderboard.stacks import stack
from leaderboard.standings import better
from leaderboard.statistics import Comparison, Ranked
from leaderboard.views import PRETRAIN, Fit, View


class MissingCellsError(BenchError):
    """Cells that a comparison needs are not recorded."""


@dataclass(frozen=True, kw_only=True)
class Against:
    """One method against the opponent."""

    label: str
    comparison: Comparison
    gain: Estimate | None
    """Percent; None where the opponent scores 0."""
    verdict: str


@dataclass(frozen=True, kw_only=True)
class CellRow:
    """One cell: a score for each method and, for each but the opponent, the difference to it."""

    fit: Fit
    test: str
    scores: tuple[Estimate, ...]
    differences: tuple[Comparison, ...]
    """Corrected by Holm's method over all cells and methods of the comparison."""


@dataclass(frozen=True, kw_only=True)
class LowData:
    """Curves over the fraction of training data, averaged over its cells."""

    curves: tuple[LowDataCurve, ...]
    area_differences: tuple[Estimate, ...]
    """Each method but the opponent − the opponent."""
    crossovers: tuple[Crossover, ...]


@dataclass(frozen=True, kw_only=True)
class Result:
    """All that `bench compare` says."""

    board: Board
    view: View
    metric: str
    seeds: tuple[int, ...]
    labels: tuple[str, ...]
    opponent: int
    """Its place among `labels`."""
    against: tuple[Against, ...]
    """The methods but the opponent, in the order named."""
    ranked: tuple[Ranked, ...]
    """Best first; `Ranked.method` is a place among `labels`."""
    cells: tuple[CellRow, ...]
    low_data: LowData | None


def compare(
    board: Board, names: Sequence[str], *, view: View, metric: str, opponent: str
) -> Result:
    """Methods of one board on the seeds they share.

    A name is a method's name or its label on the board. Raises `MissingCellsError` where cells are
    not recorded, and `BenchError` for a name that fits several configs.
    """
    variants = [_variant(board, name, view) for name in names]
    seeds = sorted(set.intersection(*(set(v.seeds(view)) for v in variants)))
    if not seeds:
        raise MissingCellsError(f"{_listed(names)} have no seed in common on {board.title}.")
    shared = stack(board, variants, view, seeds)
    if shared is None:
        raise MissingCellsError(
            f"The per-sample scores of {_listed(names)} on {board.title} are not all there, or of "
            "fewer than two samples."
        )
    draws = shared.resample(metric)
    labels = tuple(v.label for v in variants)
    place = list(names).index(opponent)
    direction = better(metric)
    return Result(
        board=board,
        view=view,
        metric=metric,
        seeds=tuple(seeds),
        labels=labels,
        opponent=place,
        against=_against(draws, labels, place, metric),
        ranked=statistics.rank(draws, better=direction),
        cells=_cells(draws, view, place, metric),
        low_data=_low_data(draws, view, place) if view.name == "lowdata" else None,
    )


def complete(board: Board, names: Sequence[str], view: View) -> bool:
    """Whether the board has every cell of every method named."""
    return all(any(v.seeds(view) for v in _named(board, name)) for name in names)


def groups(result: Result) -> list[str]:
    """Methods that share a rank, best first, in words."""
    ranks = {r.method: r for r in result.ranked}
    lines = []
    for members in statistics.tied_groups(result.ranked):
        best = ranks[members[0]].rank
        worst = max(ranks[m].worst_rank for m in members)
        span = str(best) if best == worst else f"{best} to {worst}"
        names = ", ".join(result.labels[m] for m in members)
        tied = " (not told apart)" if len(members) > 1 else ""
        lines.append(f"Rank {span}: {names}{tied}")
    return lines


def _named(board: Board, name: str) -> list[Variant]:
    if name == FOUNDATION:
        return [board.foundation] if board.foundation else []
    exact = [v for v in board.variants if v.label == name]
    return exact or [v for v in board.variants if v.entries[0].name == name]


def _variant(board: Board, name: str, view: View) -> Variant:
    named = _named(board, name)
    if not any(v.fits for v in named):
        known = ", ".join(v.label for v in board.variants)
        raise MissingCellsError(f"'{name}' has no fits on {board.title} (there: {known}).")
    found = [v for v in named if v.seeds(view)]
    if not found and view is PRETRAIN and any(v.card.start == "foundation" for v in named):
        raise BenchError(
            f"'{name}' starts from the foundation, which has seen the pretraining datasets; "
            f"compare '{FOUNDATION}' with methods that start from scratch."
        )
    if not found:
        raise MissingCellsError(
            f"Not all {len(view.cells)} cells of '{name}' for '{view.name}' are recorded on "
            f"{board.title}."
        )
    if len(found) > 1:
        labels = ", ".join(f"'{v.label}'" for v in found)
        raise BenchError(f"'{name}' has several recorded configs; name one of {labels}.")
    return found[0]


def _against(
    draws: Resamples, labels: Sequence[str], opponent: int, metric: str
) -> tuple[Against, ...]:
    direction = better(metric)
    found = statistics.compare_all(draws, opponent=opponent, better=direction)
    gains = (
        [None] * len(labels)
        if (draws.scores[opponent] == 0).any()
        else statistics.gains(draws, opponent=opponent, better=direction)
    )
    return tuple(
        Against(
            label=labels[i],
            comparison=comparison,
            gain=gains[i],
            verdict=statistics.verdict(
                comparison, method=labels[i], opponent=labels[opponent], score=metric.upper()
            ),
        )
        for i, comparison in sorted(found.items())
    )


def _cells(draws: Resamples, view: View, opponent: int, metric: str) -> tuple[CellRow, ...]:
    others = [m for m in range(len(draws.scores)) if m != opponent]
    single = [draws.pick([i]) for i in range(len(view.cells))]
    found = iter(
        statistics.corrected(
            [
                comparison
                for cell in single
                for comparison in statistics.compare_pairs(
                    cell, [(m, opponent) for m in others], better=better(metric)
                )
            ]
        )
    )
    return tuple(
        CellRow(
            fit=fit,
            test=test,
            scores=statistics.means(cell),
            differences=tuple(islice(found, len(others))),
        )
        for cell, (fit, test) in zip(single, view.cells, strict=True)
    )


def _low_data(draws: Resamples, view: View, opponent: int) -> LowData:
    cells = [[i for i, (fit, _) in enumerate(view.cells) if fit.percent == p] for p in PERCENTS]
    others = [m for m in range(len(draws.scores)) if m != opponent]

    def area_difference(method: int) -> Estimate:
        def area(scores: Floats) -> Floats:
            gap = scores[..., method, :] - scores[..., opponent, :]
            means = np.stack([gap[..., group].mean(axis=-1) for group in cells], axis=-1)
            return curves.area_under_curve(means, PERCENTS)

        return distribution(draws, area).estimate()

    return LowData(
        curves=tuple(
            curves.low_data_curve(draws, method=m, fractions_percent=PERCENTS, cells=cells)
            for m in range(len(draws.scores))
        ),
        area_differences=tuple(area_difference(m) for m in others),
        crossovers=tuple(
            curves.crossover(
                draws, method=m, opponent=opponent, fractions_percent=PERCENTS, cells=cells
            )
            for m in others
        ),
    )


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
