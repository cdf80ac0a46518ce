"""Paired hierarchical bootstrap: seeds and test samples resampled together.

For numbers that have no closed form, and as an independent check of `estimates`, which has it.

Scores are crossed (every seed is scored on the same test samples), so one resample draws seeds
and, independently, samples, and applies both draws to every method: the comparison stays paired
(the "pigeonhole" bootstrap of Owen, 2007, doi:10.1214/07-AOAS122). Four things make intervals as
wide as they should be, and not wider, with few seeds:

* n − 1 of n are drawn, so that the variance of a mean is unbiased (Rao and Wu, 1988,
  doi:10.1080/01621459.1988.10478591); a plain bootstrap of two seeds halves it;
* seeds and samples are also resampled each alone: variance that appears only when both are is
  their interaction, which a crossed resample counts three times; the excess is taken off;
* the seeds' part of the variance gives the effective degrees of freedom (Satterthwaite, 1946,
  doi:10.2307/3002019);
* each deviation from the estimate is divided by √(χ²/df), which turns normal deviations into
  Student's t with those degrees of freedom.

With one seed there is nothing to resample but samples: results carry ``seeds=1``.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr

from bench.errors import BenchError
from leaderboard.stats.estimates import LEVEL, Estimate, Floats

Statistic = Literal["mean", "root_mean"]
Functional = Callable[[Floats], Floats]
"""A number of interest as a function of scores: (..., methods, cells) → (...) or (..., k)."""

_FEW = 10
_ROUNDING = 1e-12
"""A standard error below this part of the value is rounding of scores that do not vary."""
_CHUNK = 4_000_000


class StatisticsError(BenchError):
    """Scores that cannot be compared as asked."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Resamples:
    """Scores of several methods on several cells, as measured and as resampled."""

    scores: Floats
    """(methods, cells): mean over seeds of each fit's score, as the tables show it."""
    draws: Floats
    """(resamples, methods, cells): the same with seeds and samples resampled together."""
    seed_draws: Floats
    """(resamples, methods, cells): the same with seeds resampled alone."""
    sample_draws: Floats
    """(resamples, methods, cells): the same with samples resampled alone."""
    seeds: int
    samples: int
    """Of the smallest cell."""
    seed: int
    """Of the random draws."""

    def pick(self, cells: Sequence[int] | slice) -> "Resamples":
        """Only these cells; the draws stay the same ones."""
        index = cells if isinstance(cells, slice) else list(cells)
        return self._with(lambda scores: scores[..., index])

    def averaged(self) -> "Resamples":
        """One cell: the mean over all cells."""
        return self._with(lambda scores: scores.mean(axis=-1, keepdims=True))

    def _with(self, change: Functional) -> "Resamples":
        return Resamples(
            scores=change(self.scores),
            draws=change(self.draws),
            seed_draws=change(self.seed_draws),
            sample_draws=change(self.sample_draws),
            seeds=self.seeds,
            samples=self.samples,
            seed=self.seed,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Distribution:
    """Sampling distribution of a number, or of k numbers."""

    value: Floats
    """() or (k,), as measured."""
    draws: Floats
    """(resamples,) or (resamples, k)."""
    standard_error: Floats
    """() or (k,)."""
    degrees_of_freedom: Floats
    """() or (k,); one for all of them if they are drawn jointly."""
    seeds: int
    samples: int

    def estimates(self) -> tuple[Estimate, ...]:
        """One estimate for each of the k numbers."""
        low, high = np.quantile(self._by_number(), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=-1)
        degrees = np.broadcast_to(self.degrees_of_freedom, np.shape(self.value))
        parts = (self.value, low, high, self.standard_error, degrees)
        return tuple(
            Estimate(
                value=v,
                low=a,
                high=b,
                standard_error=e,
                degrees_of_freedom=d,
                seeds=self.seeds,
                samples=self.samples,
            )
            for v, a, b, e, d in zip(*(np.atleast_1d(part).tolist() for part in parts), strict=True)
        )

    def estimate(self) -> Estimate:
        """For a single number; raises `ValueError` for more."""
        (estimate,) = self.estimates()
        return estimate

    def probability_below_zero(self) -> Floats:
        """() or (k,) part of the draws below zero, ties counted half."""
        draws = self._by_number()
        return np.asarray((draws < 0).mean(axis=-1) + 0.5 * (draws == 0).mean(axis=-1))

    def p_value(self) -> Floats:
        """() or (k,) two-sided, of the hypothesis that the number is zero.

        Twice the share of draws on the far side of zero, with one added to both counts. Fewer than
        ten draws there are too coarse a count for a correction over many comparisons, which needs
        small p-values; then it is the tail of Student's t at value / standard error.
        """
        draws = self._by_number()
        far = np.minimum((draws <= 0).sum(axis=-1), (draws >= 0).sum(axis=-1))
        counted = np.minimum(1.0, 2 * (far + 1) / (draws.shape[-1] + 1))
        size = np.abs(self.value)
        coarse = (far < _FEW) & (self.standard_error > _ROUNDING * size)
        t = np.divide(size, self.standard_error, out=np.zeros_like(size), where=coarse)
        return np.asarray(np.where(coarse, 2 * stdtr(self.degrees_of_freedom, -t), counted))

    def _by_number(self) -> Floats:
        """(resamples,) or (k, resamples): the draws of each number side by side."""
        return np.ascontiguousarray(self.draws.T)


def resample(
    cells: Sequence[ArrayLike],
    *,
    test_sets: Sequence[str] | None = None,
    statistic: Statistic | Sequence[Statistic] = "mean",
    resamples: int = 2000,
    seed: int = 0,
) -> Resamples:
    """Resample the scores of several methods on several cells.

    `cells` holds for each cell (methods, seeds, samples) per-sample scores, the same methods and
    seeds in the same order everywhere. Cells with the same name in `test_sets` are scored on the
    same samples and resampled alike; without it every cell has samples of its own. Seeds are
    resampled jointly over all cells. A fit's score is the mean over samples or, with
    ``root_mean`` on per-sample mean squares, its root (RMSE); a method's is the mean over seeds.
    `statistic` is that of all cells, or lists it for each.

    Memory: about 24 bytes × resamples × methods × cells, and 64 MB for the weights. The draws of
    a test set depend on `seed` and its name only. Raises `StatisticsError`.
    """
    arrays = _checked(cells)
    names = list(test_sets) if test_sets is not None else [f"cell {i}" for i in range(len(arrays))]
    if len(names) != len(arrays):
        raise StatisticsError(f"{len(names)} test sets are named for {len(arrays)} cells.")
    kinds = [statistic] * len(arrays) if isinstance(statistic, str) else list(statistic)
    groups = {name: [i for i, other in enumerate(names) if other == name] for name in names}
    methods, seeds, _ = arrays[0].shape
    seed_weights = _weights(np.random.default_rng([seed, 0]), resamples, seeds)
    scores = np.empty((methods, len(arrays)))
    draws, seed_draws, sample_draws = (
        # a cell is written at once, so its numbers lie together
        np.moveaxis(np.empty((len(arrays), resamples, methods)), 0, -1)
        for _ in range(3)
    )
    for name, members in groups.items():
        samples = arrays[members[0]].shape[2]
        for i in members:
            if arrays[i].shape[2] != samples:
                raise StatisticsError(
                    f"Cells of test set '{name}' have {samples} and {arrays[i].shape[2]} samples; "
                    "cells on one test set must be scored on the same samples."
                )
            per_seed = _score(arrays[i].mean(axis=2), kinds[i])
            scores[:, i] = per_seed.mean(axis=1)
            seed_draws[:, :, i] = seed_weights @ per_seed.T
        rng = np.random.default_rng([seed, 1, zlib.crc32(name.encode())])
        step = max(1, _CHUNK // samples)
        for start in range(0, resamples, step):
            part = slice(start, min(start + step, resamples))
            weights = _weights(rng, part.stop - start, samples)
            for i in members:
                means = weights @ arrays[i].reshape(-1, samples).T
                per_seed = _score(means.reshape(-1, methods, seeds), kinds[i])
                sample_draws[part, :, i] = per_seed.mean(axis=2)
                draws[part, :, i] = np.einsum("bms,bs->bm", per_seed, seed_weights[part])
    return Resamples(
        scores=scores,
        draws=draws,
        seed_draws=seed_draws,
        sample_draws=sample_draws,
        seeds=seeds,
        samples=min(array.shape[2] for array in arrays),
        seed=seed,
    )


def distribution(
    resampled: Resamples, functional: Functional, *, jointly: bool = True
) -> Distribution:
    """Sampling distribution of `functional` of the scores.

    k numbers that are used together (a curve, ranks) are drawn `jointly`, with the fewest degrees
    of freedom of any of them; otherwise each is what it would be if asked for alone.
    """
    value = np.asarray(functional(resampled.scores), dtype=np.float64)
    draws = np.asarray(functional(resampled.draws), dtype=np.float64)
    both = draws.var(axis=0)
    of_seeds = np.asarray(functional(resampled.seed_draws), dtype=np.float64).var(axis=0)
    of_samples = np.asarray(functional(resampled.sample_draws), dtype=np.float64).var(axis=0)
    interaction = np.maximum(both - of_seeds - of_samples, 0)
    variance = np.maximum(both - 2 * interaction, np.maximum(of_seeds, of_samples))
    degrees = _degrees_of_freedom(variance, of_seeds, resampled)
    if jointly:
        degrees = degrees.min()
    width = np.sqrt(np.divide(variance, both, out=np.ones_like(both), where=both > 0))
    deviations = (draws - value) * width / _chi(degrees, len(draws), value.ndim, resampled.seed)
    return Distribution(
        value=value,
        draws=value + deviations,
        standard_error=np.sqrt(variance),
        degrees_of_freedom=np.asarray(degrees),
        seeds=resampled.seeds,
        samples=resampled.samples,
    )


def _degrees_of_freedom(variance: Floats, of_seeds: Floats, resampled: Resamples) -> Floats:
    """Of each number: S − 1 and N − 1, weighted as Satterthwaite does."""
    if resampled.seeds == 1:
        return np.full_like(variance, resampled.samples - 1)
    rest = np.maximum(variance - of_seeds, 0)
    spread = of_seeds**2 / (resampled.seeds - 1) + rest**2 / (resampled.samples - 1)
    most = np.full_like(variance, resampled.seeds + resampled.samples - 2)
    degrees = np.divide(variance**2, spread, out=most.copy(), where=spread > 0)
    return np.asarray(np.minimum(degrees, most))


def _chi(degrees: Floats, count: int, dimensions: int, seed: int) -> Floats:
    """√(χ²/df), (count, k) or (count, 1) as `degrees` is (k,) or (), or without that axis.

    Degrees of freedom are rounded down to quarters: numbers of many cells then share their draws,
    and intervals become wider by 2 % at most.
    """
    unique, place = np.unique(np.floor(4 * degrees + 1e-6) / 4, return_inverse=True)
    columns = np.stack([_drawn_chi(df, count, seed) for df in unique.tolist()], axis=-1)
    return columns[:, np.ravel(place)].reshape(count, *[-1] * dimensions)


@lru_cache(maxsize=512)
def _drawn_chi(df: float, count: int, seed: int) -> Floats:
    return np.sqrt(np.random.default_rng([seed, 2]).chisquare(df, count) / df)


def _checked(cells: Sequence[ArrayLike]) -> list[Floats]:
    arrays = [np.asarray(cell, dtype=np.float64) for cell in cells]
    if not arrays:
        raise StatisticsError("There is no cell to compare; run the protocol first.")
    first = arrays[0].shape
    for i, array in enumerate(arrays):
        if array.ndim != 3 or array.shape[:2] != first[:2] or 0 in array.shape:
            raise StatisticsError(
                f"Scores of cell {i} have shape {array.shape}; (methods, seeds, samples) with the "
                f"{first[:2]} methods and seeds of the first cell are needed."
            )
        if array.shape[2] < 2:
            raise StatisticsError(f"Cell {i} has one sample; an interval needs two or more.")
        if not np.isfinite(array).all():
            raise StatisticsError(
                f"Scores of cell {i} are not all finite; leave out the samples where a score is "
                "undefined, for every method."
            )
    return arrays


def _weights(rng: np.random.Generator, resamples: int, n: int) -> Floats:
    """(resamples, n) weights that add to one: n − 1 draws with replacement out of n."""
    if n == 1:
        return np.ones((resamples, 1))
    drawn = rng.integers(0, n, (resamples, n - 1)) + n * np.arange(resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=resamples * n)
    return counts.reshape(resamples, n) / (n - 1)


def _score(means: Floats, statistic: Statistic) -> Floats:
    return np.sqrt(means) if statistic == "root_mean" else means
