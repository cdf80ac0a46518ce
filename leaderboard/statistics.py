"""Comparisons that hold: paired differences, gains, Holm's correction, shared ranks, verdicts.

All work on `resampling.Resamples`; methods and cells are positions in its arrays. `better` says
which direction of the score is better.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leaderboard.resampling import (
    LEVEL,
    Distribution,
    Estimate,
    Floats,
    Resamples,
    StatisticsError,
    distribution,
)

Better = Literal["lower", "higher"]
Places = NDArray[np.intp]
_CHUNK = 512
"""Pairs whose draws are in memory at once."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A method against an opponent, averaged over cells."""

    difference: Estimate
    """Method − opponent, in the unit of the score."""
    better: Better
    probability_better: float
    """Part of the resamples in which the method is better, ties counted half."""
    p_value: float
    """Two-sided, of no difference."""
    p_holm: float
    """Corrected for all comparisons of its family; equal to `p_value` for a single one."""
    comparisons: int = 1
    """Size of the family."""

    @property
    def favours_method(self) -> bool:
        """Whether the measured difference is in favour of the method."""
        value = self.difference.value
        return value < 0 if self.better == "lower" else value > 0

    @property
    def resolved(self) -> bool:
        """Whether the interval excludes zero and the corrected p-value is at most 5 %."""
        return self.difference.excludes_zero and self.p_holm <= 1 - LEVEL


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """Place of one method among several."""

    method: int
    score: Estimate
    """Mean over cells."""
    rank: int
    """1 + the number of methods that are better and resolved; shared where they are not."""
    worst_rank: int
    """Number of methods − the number that are worse and resolved."""
    mean_rank: Estimate
    """Mean over cells of the rank within a cell (1 is best, ties averaged)."""


def compare_pairs(
    resampled: Resamples, pairs: Sequence[tuple[int, int]], *, better: Better
) -> list[Comparison]:
    """Paired differences of (method, opponent)s, averaged over cells; not corrected."""
    averaged = resampled.averaged()
    found = []
    for i in range(0, len(pairs), _CHUNK):
        methods, opponents = np.transpose(pairs[i : i + _CHUNK])

        def difference(
            scores: Floats, methods: Places = methods, opponents: Places = opponents
        ) -> Floats:
            means = scores[..., 0]
            return np.asarray(means[..., methods] - means[..., opponents])

        found += _comparisons(distribution(averaged, difference, jointly=False), better)
    return found


def compare_all(resampled: Resamples, *, opponent: int, better: Better) -> dict[int, Comparison]:
    """Every other method against one opponent, p-values corrected by Holm's method."""
    others = [m for m in range(len(resampled.scores)) if m != opponent]
    found = compare_pairs(resampled, [(m, opponent) for m in others], better=better)
    return dict(zip(others, corrected(found), strict=True))


def corrected(found: Sequence[Comparison]) -> list[Comparison]:
    """The same comparisons as one family: p-values by Holm's method."""
    adjusted = holm([c.p_value for c in found])
    return [
        replace(c, p_holm=float(p), comparisons=len(found))
        for c, p in zip(found, adjusted, strict=True)
    ]


def holm(p_values: ArrayLike) -> Floats:
    """P-values adjusted by Holm's step-down method (1979), in the order given.

    The i-th smallest of m is multiplied by m − i + 1; the result never falls and never passes 1.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = p[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return adjusted


def gain_percent(method: ArrayLike, opponent: ArrayLike, *, better: Better) -> Floats:
    """The paper's gain (Figs 3, 5, 6, 14, 15) of scores over an opponent's; positive is better.

    100·(opponent − method)/opponent where lower is better, 100·(method − opponent)/opponent where
    higher is.
    """
    ours, theirs = np.asarray(method, np.float64), np.asarray(opponent, np.float64)
    return 100 * (theirs - ours if better == "lower" else ours - theirs) / theirs


def gain(resampled: Resamples, *, method: int, opponent: int, better: Better) -> Estimate:
    """Gain in percent, averaged over cells; raises `StatisticsError` if the opponent scores 0."""
    return gains(resampled, opponent=opponent, better=better)[method]


def gains(resampled: Resamples, *, opponent: int, better: Better) -> tuple[Estimate, ...]:
    """`gain` of every method, the opponent's own 0 included."""
    if (resampled.scores[opponent] == 0).any():
        raise StatisticsError(
            "The opponent's score is 0 in a cell: a gain in percent is undefined."
        )

    def mean_gains(scores: Floats) -> Floats:
        percent = gain_percent(scores, scores[..., [opponent], :], better=better)
        return np.asarray(percent.mean(axis=-1))

    return distribution(resampled, mean_gains, jointly=False).estimates()


def means(resampled: Resamples) -> tuple[Estimate, ...]:
    """Score of every method, averaged over cells."""
    return distribution(resampled, lambda s: s.mean(axis=-1), jointly=False).estimates()


def rank(resampled: Resamples, *, better: Better) -> tuple[Ranked, ...]:
    """Methods in order of rank, then of mean score over cells.

    Rank and worst rank come from all pairwise differences, corrected together by Holm's method:
    with 95 % confidence the true rank of every method at once lies between the two.
    """
    count = len(resampled.scores)
    pairs = [(a, b) for a in range(count) for b in range(a)]
    found = corrected(compare_pairs(resampled, pairs, better=better))
    beaten_by = np.zeros(count, dtype=int)
    beats = np.zeros(count, dtype=int)
    for (a, b), comparison in zip(pairs, found, strict=True):
        if comparison.resolved:
            winner, loser = (a, b) if comparison.favours_method else (b, a)
            beats[winner] += 1
            beaten_by[loser] += 1
    scores = means(resampled)
    mean_ranks = _mean_ranks(resampled, better)
    ranked = [
        Ranked(
            method=m,
            score=scores[m],
            rank=1 + int(beaten_by[m]),
            worst_rank=count - int(beats[m]),
            mean_rank=mean_ranks[m],
        )
        for m in range(count)
    ]
    sign = 1 if better == "lower" else -1
    return tuple(sorted(ranked, key=lambda r: (r.rank, sign * r.score.value)))


def tied_groups(ranked: Sequence[Ranked]) -> tuple[tuple[int, ...], ...]:
    """Methods that share a rank, best group first."""
    return tuple(
        tuple(r.method for r in group) for _, group in groupby(ranked, key=lambda r: r.rank)
    )


def pareto_front(cost: ArrayLike, error: ArrayLike) -> NDArray[np.bool_]:
    """(n,) whether no other point has lower cost without higher error, or the reverse.

    Lower is better in both; equal points stay together; a point with a NaN is never on the front.
    """
    x, y = np.asarray(cost, np.float64), np.asarray(error, np.float64)
    front = np.zeros(len(x), dtype=bool)
    best_x, best_y = np.nan, np.inf
    for i in np.lexsort((y, x)):
        if y[i] < best_y:
            best_x, best_y = x[i], y[i]
        front[i] = y[i] == best_y and x[i] == best_x
    return front


def verdict(
    comparison: Comparison, *, method: str, opponent: str, score: str, unit: str = ""
) -> str:
    """One or two plain sentences: who is better, by how much, and whether it is resolved."""
    d = comparison.difference
    decimals = _decimals(d)
    suffix = f" {unit}" if unit else ""

    def text(x: float) -> str:
        return f"{x:.{decimals}f}".replace("-", "−") + suffix

    low, high = (d.low, d.high) if d.value >= 0 else (-d.high, -d.low)
    word = "better" if comparison.favours_method else "worse"
    by = (
        f"{method} is {word} than {opponent} by {text(abs(d.value))} in {score} "
        f"(95 % interval {text(low)} to {text(high)}"
    )
    chance = f"probability that {method} is better {100 * comparison.probability_better:.0f} %"
    basis = f"{d.seeds} seeds" if d.seeds > 1 else "one seed"
    if comparison.resolved:
        sentence = f"{by}, {basis}); resolved."
    elif d.excludes_zero:
        family = (
            f"after Holm's correction for {comparison.comparisons} comparisons "
            if comparison.comparisons > 1
            else ""
        )
        sentence = f"Not resolved {family}(p = {comparison.p_holm:.2g}): {by}, {basis})."
    else:
        sentence = (
            f"Not resolved: {method} − {opponent} is {text(d.value)} in {score} "
            f"(95 % interval {text(d.low)} to {text(d.high)}, {basis}); {chance}."
        )
    if d.seeds == 1:
        sentence += " One seed: the interval reflects test samples only, not repeated training."
    return sentence


def _comparisons(differences: Distribution, better: Better) -> list[Comparison]:
    below = differences.probability_below_zero()
    return [
        Comparison(
            difference=estimate, better=better, probability_better=chance, p_value=p, p_holm=p
        )
        for estimate, chance, p in zip(
            differences.estimates(),
            (below if better == "lower" else 1 - below).tolist(),
            differences.p_value().tolist(),
            strict=True,
        )
    ]


def _mean_ranks(resampled: Resamples, better: Better) -> list[Estimate]:
    """The interval is made to hold the value: resampled ranks of close methods drift inwards."""
    sign = 1 if better == "lower" else -1
    count = len(resampled.scores)

    def ranks(scores: Floats) -> Floats:
        columns = [_ranks_of(m, sign * scores).mean(axis=-1) for m in range(count)]
        return np.stack(columns, axis=-1)

    return [
        replace(e, low=max(1.0, min(e.low, e.value)), high=min(float(count), max(e.high, e.value)))
        for e in distribution(resampled, ranks).estimates()
    ]


def _ranks_of(method: int, scores: Floats) -> Floats:
    """(..., cells) of (..., methods, cells): rank of one method, 1 is lowest, ties averaged.

    `scipy.stats.rankdata` is the same; importing it takes half a second.
    """
    own = scores[..., [method], :]
    return np.asarray((scores < own).sum(axis=-2) + ((scores == own).sum(axis=-2) + 1) / 2)


def _decimals(estimate: Estimate) -> int:
    """Decimals that give the interval's half-width two significant digits."""
    half = (estimate.high - estimate.low) / 2 or abs(estimate.value)
    return int(np.clip(1 - np.floor(np.log10(half)), 0, 8)) if half > 0 else 1
