"""How the methods of a board stand in a protocol: intervals, gains, ranks."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

import numpy as np

from bench.columns import score as column
from leaderboard import statistics
from leaderboard.boards import Board, Variant
from leaderboard.resampling import Estimate, Floats, Resamples, distribution
from leaderboard.stacks import stack
from leaderboard.statistics import Better, Comparison
from leaderboard.views import View

METRICS = ("mae", "rmse", "ssim")


@dataclass(frozen=True, slots=True)
class Score:
    """A mean over cells and seeds; the interval is None without per-sample scores."""

    value: float
    estimate: Estimate | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """A method in one protocol."""

    seeds: tuple[int, ...]
    """With every cell of the protocol. Empty: nothing else is known."""
    fits: int
    wanted: int
    scores: dict[str, Score] = field(default_factory=dict)
    gains: dict[str, Estimate] = field(default_factory=dict)
    """Percent better than the opponent, by metric, over common seeds."""
    comparison: Comparison | None = None
    """MAE against the opponent; p-values corrected for all methods of the board."""
    rank: tuple[int, int] | None = None
    """Best and worst rank by MAE that the data allow."""


def better(metric: str) -> Better:
    return column(metric).better or "lower"


def standings(board: Board, view: View) -> dict[str, Standing]:
    """Every method of the board by variant key."""
    made = {v.key: _bare(v, view) for v in board.variants}
    together, seeds = comparable(board, view)
    shared = stack(board, together, view, seeds)
    joint = {m: shared.resample(m) for m in METRICS} if shared else {}
    means = {m: draws.averaged() for m, draws in joint.items()}
    ranks = _ranks(means.get("mae"), together)
    comparisons = _comparisons(means.get("mae"), together, board.opponent)
    for variant in board.variants:
        bare = made[variant.key]
        if not bare.seeds:
            continue
        draws, where = means, together.index(variant) if variant in together else 0
        if bare.seeds != seeds or variant not in together:
            own, where = stack(board, [variant], view, bare.seeds), 0
            draws = {m: own.resample(m).averaged() for m in METRICS} if own else {}
        scores = {
            m: Score(bare.scores[m].value, _estimate(draws[m], where))
            if m in draws
            else bare.scores[m]
            for m in METRICS
        }
        made[variant.key] = Standing(
            bare.seeds,
            bare.fits,
            bare.wanted,
            scores,
            _gains(joint, together, variant, board.opponent),
            comparisons.get(variant.key),
            ranks.get(variant.key),
        )
    return made


def comparable(board: Board, view: View) -> tuple[list[Variant], tuple[int, ...]]:
    """Methods that can be compared on common seeds, and these seeds.

    The seeds that all complete methods share; if there is none, the seed that most have.
    """
    have = {
        v.key: set(v.seeds(view))
        for v in board.variants
        if (seeds := v.seeds(view))
        and all(board.has_samples(v, fit, test, seeds) for fit, test in view.cells)
    }
    if not have:
        return [], ()
    common = set.intersection(*have.values())
    if not common:
        counts = Counter(seed for seeds in have.values() for seed in seeds)
        common = {min(counts, key=lambda s: (-counts[s], s))}
    together = [v for v in board.variants if common <= have.get(v.key, set())]
    return together, tuple(sorted(common))


def _bare(variant: Variant, view: View) -> Standing:
    seeds = variant.seeds(view)
    scores = {}
    if seeds:
        cells = [variant.cell(f, t, s) for f, t in view.cells for s in seeds]
        scores = {m: Score(fmean(getattr(c, m) for c in cells if c)) for m in METRICS}
    counts = Counter(seed for fit, seed in variant.fits if fit in view.tests)
    return Standing(seeds, max(counts.values(), default=0), len(view.tests), scores)


def _estimate(means: Resamples, method: int) -> Estimate:
    def of_method(scores: Floats) -> Floats:
        return np.asarray(scores[..., method, 0])

    return distribution(means, of_method).estimate()


def _ranks(means: Resamples | None, together: Sequence[Variant]) -> dict[str, tuple[int, int]]:
    if means is None:
        return {}
    ranked = statistics.rank(means, better="lower")
    return {together[r.method].key: (r.rank, r.worst_rank) for r in ranked}


def _comparisons(
    means: Resamples | None, together: Sequence[Variant], opponent: Variant | None
) -> dict[str, Comparison]:
    if means is None or opponent is None or opponent not in together:
        return {}
    found = statistics.compare_all(means, opponent=together.index(opponent), better="lower")
    return {together[i].key: comparison for i, comparison in found.items()}


def _gains(
    joint: Mapping[str, Resamples],
    together: Sequence[Variant],
    variant: Variant,
    opponent: Variant | None,
) -> dict[str, Estimate]:
    if variant not in together or opponent not in together or variant is opponent:
        return {}
    ours, theirs = together.index(variant), together.index(opponent)
    return {
        metric: statistics.gain(draws, method=ours, opponent=theirs, better=better(metric))
        for metric, draws in joint.items()
        if (draws.scores[theirs] != 0).all()
    }
