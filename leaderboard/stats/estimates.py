"""Estimates with intervals in closed form: seeds and test samples as crossed random effects.

Every seed is scored on the same test samples, so that a mean over both varies with the seeds and
with the samples of each test dataset (the strata), which are the same under each condition. Each
part has Student's interval of its own: that of the means of seeds, with S − 1 degrees of freedom,
and that of the means of samples, with Welch's over the strata. Their half-widths are added in
quadrature (Howe 1974, doi:10.1080/01621459.1974.10480183; Zou and Donner 2008,
doi:10.1002/sim.3095): one t with Satterthwaite's degrees of freedom covers 92 % instead of 95 %
with three seeds. The interaction of seeds and samples is in both parts, which makes intervals a
little too wide where it dominates.
There is no random number in it.

With one seed there is nothing to see of repeated training: results carry ``seeds=1``.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Key = TypeVar("Key", bound=Hashable)

LEVEL = 0.95
"""Coverage of every interval."""
_ROUNDING = 1e-12
"""A standard error below this part of the value is rounding of scores that do not vary."""
_HALVINGS = 50
_SMALLEST = 1e-15
"""Tail probability below which p-values are not told apart."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float
    standard_error: float
    degrees_of_freedom: float
    seeds: int
    """1: the interval reflects the test samples only, not the spread between trainings."""
    samples: int
    """Of the smallest test set."""
    p_value: float
    """Two-sided, of the hypothesis that the number is zero: at the level 1 − p its interval ends
    there."""

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0

    @property
    def probability_below_zero(self) -> float:
        """Probability that the number is below zero, given these data and no other knowledge."""
        return self.p_value / 2 if self.value > 0 else 1 - self.p_value / 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """Means and covariances of several numbers (methods) that share seeds and test samples."""

    means: Floats
    """(m,)"""
    of_seeds: Floats
    """(m, m) covariance of the means due to seeds, the interaction included."""
    of_samples: Floats
    """(strata, m, m) covariance due to the samples of each stratum, the interaction included."""
    seeds: int
    samples: tuple[int, ...]
    """Of each stratum."""

    def estimates(self) -> tuple[Estimate, ...]:
        """Estimates of the numbers."""
        return self.contrasts(np.eye(len(self.means)))

    def contrasts(self, weights: ArrayLike) -> tuple[Estimate, ...]:
        """Estimates of linear combinations (k, m) of the numbers, such as differences."""
        w = np.atleast_2d(np.asarray(weights, dtype=np.float64))
        value = w @ self.means
        seeds = _quadratic(w, self.of_seeds)
        strata = np.stack([_quadratic(w, part) for part in self.of_samples])
        return self._estimates(value, seeds, strata)

    def differences(self, first: Sequence[int], second: Sequence[int]) -> tuple[Estimate, ...]:
        """Number `first[i]` − number `second[i]`, for many pairs at once."""
        a, b = np.asarray(first, dtype=np.intp), np.asarray(second, dtype=np.intp)

        def variance(part: Floats) -> Floats:
            diagonal = np.diagonal(part)
            return np.maximum(diagonal[a] + diagonal[b] - 2 * part[a, b], 0)

        return self._estimates(
            self.means[a] - self.means[b],
            variance(self.of_seeds),
            np.stack([variance(part) for part in self.of_samples]),
        )

    def _estimates(self, value: Floats, seeds: Floats, strata: Floats) -> tuple[Estimate, ...]:
        counts = np.asarray(self.samples, dtype=np.float64)[:, None]
        samples = strata.sum(axis=0)
        spread = (strata**2 / (counts - 1)).sum(axis=0)
        most = np.full_like(value, (counts - 1).sum())
        welch = np.divide(samples**2, spread, out=most.copy(), where=spread > 0)
        degrees = (np.full_like(value, self.seeds - 1), np.clip(welch, 1.0, most))
        sizes = [(self.seeds, min(self.samples))] * len(value)
        return _made(value, (seeds, samples), degrees, sizes)


def moments(values: Floats, strata: NDArray[np.intp]) -> Moments:
    """Moments of `values` (m, seeds, samples), whose samples belong to test datasets `strata`.

    A number is the sum over test datasets of its mean over seeds and samples there: cells of a
    protocol are weighted before they are added up. Raises `ValueError` for a dataset of one sample.
    """
    m, seeds, _ = values.shape
    means, of_seeds = np.zeros(m), np.zeros((m, seeds))
    of_samples, counts = [], []
    for stratum in np.unique(strata):
        x = values[:, :, strata == stratum]
        n = x.shape[2]
        if n < 2:
            raise ValueError("A test set of one sample has no interval; two or more are needed.")
        by_seed, by_sample = x.mean(axis=2), x.mean(axis=1)
        mean = by_seed.mean(axis=1)
        means += mean
        of_seeds += by_seed
        centred = by_sample - mean[:, None]
        of_samples.append(centred @ centred.T / (n - 1) / n)
        counts.append(n)
    apart = of_seeds - of_seeds.mean(axis=1, keepdims=True)
    covariance = apart @ apart.T / (seeds - 1) / seeds if seeds > 1 else np.zeros((m, m))
    return Moments(
        means=means,
        of_seeds=covariance,
        of_samples=np.stack(of_samples),
        seeds=seeds,
        samples=tuple(counts),
    )


def by_group(groups: Mapping[Key, Floats]) -> dict[Key, Estimate]:
    """The mean of each array (seeds, samples) with its interval, all groups at once.

    The samples are of one test set. A NaN is a value that is not known, and is left out; groups
    of fewer than two samples are left out too.
    """
    known = {key: x[:, ~np.isnan(x).all(axis=0)] for key, x in groups.items()}
    known = {key: x for key, x in known.items() if x.shape[1] > 1}
    if not known:
        return {}
    rows = []
    for x in known.values():
        mean = np.nanmean if np.isnan(x).any() else np.mean
        seeds, samples = x.shape
        by_sample, by_seed = mean(x, axis=0), mean(x, axis=1)
        of_seeds = by_seed.var(ddof=1) / seeds if seeds > 1 else 0.0
        rows.append((by_sample.mean(), of_seeds, seeds, by_sample.var(ddof=1) / samples, samples))
    value, of_seeds_, s, of_samples, n = np.array(rows).T
    sizes = [x.shape for x in known.values()]
    made = _made(value, (of_seeds_, of_samples), (s - 1, n - 1), sizes)
    return dict(zip(known, made, strict=True))


def _made(
    value: Floats,
    variances: tuple[Floats, Floats],
    degrees: tuple[Floats, Floats],
    sizes: Sequence[tuple[int, ...]],
) -> tuple[Estimate, ...]:
    """Estimates from the variances of the means of seeds and of samples, their degrees of freedom,
    and the numbers of both."""
    (of_seeds, of_samples), (seed_degrees, sample_degrees) = variances, degrees
    error, freedom, half = _intervals(of_seeds, seed_degrees, of_samples, sample_degrees)
    p_values = _p_values(value, of_seeds, seed_degrees, of_samples, sample_degrees)
    columns = (value, half, error, freedom, p_values)
    return tuple(
        Estimate(
            value=v,
            low=v - h,
            high=v + h,
            standard_error=e,
            degrees_of_freedom=d,
            seeds=seeds,
            samples=samples,
            p_value=p,
        )
        for v, h, e, d, p, (seeds, samples) in zip(
            *(column.tolist() for column in columns), sizes, strict=True
        )
    )


def _intervals(
    of_seeds: Floats, seed_degrees: Floats, of_samples: Floats, sample_degrees: Floats
) -> tuple[Floats, Floats, Floats]:
    """Standard errors, degrees of freedom and half-widths, element by element.

    The degrees of freedom are those of the one Student's t that has the same half-width.
    """
    from scipy.special import stdtrit

    half = _half_width((1 - LEVEL) / 2, of_seeds, seed_degrees, of_samples, sample_degrees)
    error = np.sqrt(of_seeds + of_samples)
    low = np.where(seed_degrees > 0, np.minimum(seed_degrees, sample_degrees), sample_degrees)
    high = np.maximum(seed_degrees, sample_degrees)
    wanted = np.divide(half, error, out=np.zeros_like(half), where=error > 0)
    for _ in range(_HALVINGS):  # the quantile falls as the degrees rise
        middle = (low + high) / 2
        wider = stdtrit(middle, (1 + LEVEL) / 2) > wanted
        low, high = np.where(wider, middle, low), np.where(wider, high, middle)
    return error, high, half


def _p_values(
    value: Floats,
    of_seeds: Floats,
    seed_degrees: Floats,
    of_samples: Floats,
    sample_degrees: Floats,
) -> Floats:
    """Two-sided p-values of zero, element by element.

    One Student's t with the degrees of freedom of the interval would be too sure far out in the
    tail, where the few seeds weigh more than at 95 %.
    """
    low, high = np.full_like(value, np.log10(_SMALLEST)), np.full_like(value, np.log10(0.5))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        half = _half_width(10**middle, of_seeds, seed_degrees, of_samples, sample_degrees)
        inside = half > np.abs(value)
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    certain = np.sqrt(of_seeds + of_samples) <= _ROUNDING * np.abs(value)
    return np.where(certain, np.where(value == 0, 1.0, 0.0), 2 * 10**high)


def _half_width(
    tail: float | Floats,
    of_seeds: Floats,
    seed_degrees: Floats,
    of_samples: Floats,
    sample_degrees: Floats,
) -> Floats:
    """Half of the interval that leaves the probability `tail` on each side (Howe 1974)."""
    from scipy.special import stdtrit  # half a second that a run's summary does not need

    seeds = stdtrit(np.maximum(seed_degrees, 1), tail) ** 2 * of_seeds
    width: Floats = np.sqrt(seeds + stdtrit(sample_degrees, tail) ** 2 * of_samples)
    return width


def _quadratic(weights: Floats, covariance: Floats) -> Floats:
    form: Floats = np.einsum("ki,ij,kj->k", weights, covariance, weights)
    return np.maximum(form, 0)
