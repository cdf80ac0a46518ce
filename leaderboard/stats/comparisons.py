"""Comparisons: paired differences, gains, Holm's correction, shared ranks, verdicts.

Methods are positions in `leaderboard.stats.estimates.Moments`. `better` says which direction of the
score is better. Nothing here is random: the same scores give the same ranks.
"""

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, groupby
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leaderboard.stats.estimates import LEVEL, Estimate, Floats, Moments

Better = Literal["lower", "higher"]
Method = TypeVar("Method", bound=Hashable)
FEWEST_SEEDS = 3
"""Below it nothing is called resolved: what repeated training would change cannot be seen."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A method against a reference method, averaged over cells."""

    difference: Estimate
    """Method − reference, in the unit of the score."""
    better: Better
    p_holm: float
    """Corrected for all comparisons of its family."""
    comparisons: int = 1
    """Size of the family."""

    @property
    def p_value(self) -> float:
        """Two-sided p-value of no difference, uncorrected."""
        return self.difference.p_value

    @property
    def probability_better(self) -> float:
        """Probability that the method is better, given these scores and no other knowledge."""
        below = self.difference.probability_below_zero
        return below if self.better == "lower" else 1 - below

    @property
    def favours_method(self) -> bool:
        """Whether the measured difference is in favour of the method."""
        value = self.difference.value
        return value < 0 if self.better == "lower" else value > 0

    @property
    def significant(self) -> bool:
        """Whether the interval excludes zero and the corrected p-value is at most 5 %."""
        return self.difference.excludes_zero and self.p_holm <= 1 - LEVEL

    @property
    def resolved(self) -> bool:
        """Whether it is significant, with enough seeds to know."""
        return self.significant and self.difference.seeds >= FEWEST_SEEDS

    @property
    def turned(self) -> "Comparison":
        """The same pair from the other method's side."""
        d = self.difference
        return replace(self, difference=replace(d, value=-d.value, low=-d.high, high=-d.low))


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """Rank of a method among those it was compared with."""

    method: int
    score: Estimate
    """Mean over cells."""
    rank: int
    """1 + the number of methods that are significantly better; shared where they are not."""
    worst_rank: int
    """Number of methods − the number that are significantly worse."""


def compare_pairs(
    scores: Moments, pairs: Sequence[tuple[int, int]], *, better: Better
) -> list[Comparison]:
    """Paired differences of (method, reference)s, p-values corrected as one family."""
    if not pairs:
        return []
    first, second = zip(*pairs, strict=True)
    found = scores.differences(first, second)
    adjusted = holm([d.p_value for d in found])
    return [
        Comparison(difference=d, better=better, p_holm=float(p), comparisons=len(found))
        for d, p in zip(found, adjusted, strict=True)
    ]


def corrected(found: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons with p-values corrected as one family."""
    adjusted = holm([c.p_value for c in found])
    return [
        replace(c, p_holm=float(p), comparisons=len(found))
        for c, p in zip(found, adjusted, strict=True)
    ]


def all_pairs(scores: Moments, *, better: Better) -> dict[tuple[int, int], Comparison]:
    """Every method against every other, both ways round, as one family of comparisons."""
    pairs = list(combinations(range(len(scores.means)), 2))
    found = dict(zip(pairs, compare_pairs(scores, pairs, better=better), strict=True))
    return found | {(b, a): c.turned for (a, b), c in found.items()}


def rank(
    scores: Moments,
    pairs: Mapping[tuple[int, int], Comparison] | None = None,
    *,
    better: Better,
) -> tuple[Ranked, ...]:
    """Methods in order of rank, then of mean score over cells.

    `pairs` are `all_pairs` of these scores where the caller has them.
    """
    pairs = all_pairs(scores, better=better) if pairs is None else pairs
    places = rank_ranges(range(len(scores.means)), pairs)
    ranked = [
        Ranked(method=m, score=score, rank=places[m][0], worst_rank=places[m][1])
        for m, score in enumerate(scores.estimates())
    ]
    sign = 1 if better == "lower" else -1
    return tuple(sorted(ranked, key=lambda r: (r.rank, sign * r.score.value)))


def rank_ranges(
    methods: Collection[Method], pairs: Mapping[tuple[Method, Method], Comparison]
) -> dict[Method, tuple[int, int]]:
    """Best and worst rank of each method that its comparisons, both ways round, allow.

    The comparisons are corrected together by Holm's method: with 95 % confidence the true rank of
    every method at once lies between the two. A pair that is missing is one that is not told apart.
    """
    found = dict.fromkeys(methods, (1, len(methods)))
    for (method, _), comparison in pairs.items():
        best, worst = found[method]
        if comparison.significant and comparison.favours_method:
            found[method] = best, worst - 1
        elif comparison.significant:
            found[method] = best + 1, worst
    return found


def mean_ranks(cell_scores: Floats, *, better: Better) -> Floats:
    """(methods,) mean over cells of the rank within a cell of (methods, cells); ties averaged."""
    from scipy.stats import rankdata

    sign = 1 if better == "lower" else -1
    return np.asarray(rankdata(sign * cell_scores, axis=0).mean(axis=1))


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


def gain_percent(method: ArrayLike, reference: ArrayLike, *, better: Better) -> Floats:
    """The paper's gain (Figs 3, 5, 6, 14, 15) of scores over a reference's; positive is better.

    100·(reference − method)/reference where lower is better, 100·(method − reference)/reference
    where higher is.
    """
    ours, theirs = np.asarray(method, np.float64), np.asarray(reference, np.float64)
    return 100 * (theirs - ours if better == "lower" else ours - theirs) / theirs


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
    comparison: Comparison, *, method: str, reference: str, score: str, unit: str = ""
) -> str:
    """One or two plain sentences: who is better, by how much, and whether it is resolved."""
    d = comparison.difference
    decimals = _decimals(d)
    suffix = f" {unit}" if unit else ""

    def text(x: float) -> str:
        return f"{x:.{decimals}f}".replace("-", "−") + suffix

    low, high = (d.low, d.high) if d.value >= 0 else (-d.high, -d.low)
    word = "better" if comparison.favours_method else "worse"
    basis = f"{d.seeds} seeds" if d.seeds > 1 else "one seed"
    by = (
        f"{method} is {word} than {reference} by {text(abs(d.value))} in {score} "
        f"(95 % interval {text(low)} to {text(high)}, {basis})"
    )
    if comparison.resolved:
        return f"{by}; resolved."
    if comparison.significant:
        return f"Provisional: {by}. {FEWEST_SEEDS} seeds or more are needed to resolve it."
    if d.excludes_zero:
        family = (
            f" after Holm's correction for {comparison.comparisons} comparisons"
            if comparison.comparisons > 1
            else ""
        )
        return f"Not resolved{family} (p = {comparison.p_holm:.2g}): {by}."
    chance = f"{100 * comparison.probability_better:.0f} %"
    return (
        f"Not resolved: {method} − {reference} is {text(d.value)} in {score} (95 % interval "
        f"{text(d.low)} to {text(d.high)}, {basis}); probability that {method} is better {chance}."
    )


def _decimals(estimate: Estimate) -> int:
    """Decimals that give the interval's half-width two significant digits."""
    half = (estimate.high - estimate.low) / 2 or abs(estimate.value)
    return int(np.clip(1 - np.floor(np.log10(half)), 0, 8)) if half > 0 else 1
