"""Low-data curves: score against the fraction of training data, its area, and crossovers.

All are linear in the scores of several methods at several fractions, which are the numbers of one
`leaderboard.stats.estimates.Moments`: fraction after fraction, and in each method after method.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from leaderboard.stats.estimates import LEVEL, Estimate, Floats, Moments


@dataclass(frozen=True, kw_only=True)
class LowDataCurve:
    """Score of one method against the fraction of the training data."""

    fractions_percent: tuple[float, ...]
    points: tuple[Estimate, ...]
    """The score at each fraction."""
    area: Estimate
    """Area under the curve divided by its width: the mean score over the fractions, in the unit of
    the score (linear in the fraction, trapezoidal rule)."""


@dataclass(frozen=True, kw_only=True)
class Crossover:
    """First change of the lead between two low-data curves."""

    fraction_percent: float | None
    """Linear interpolation between the fractions; None where one method leads throughout."""
    differences: tuple[Estimate, ...]
    """Method − reference at each fraction."""

    @property
    def resolved(self) -> bool:
        """Whether each of the two is ahead somewhere beyond doubt: the smallest and the largest
        difference exclude zero on either side, at half the level each (Bonferroni)."""
        if self.fraction_percent is None:
            return False
        sides = ((1, max(self.differences, key=_t)), (-1, min(self.differences, key=_t)))
        bound = (1 - LEVEL) / len(self.differences)
        return all(sign * d.value > 0 and d.p_value <= bound for sign, d in sides)


def low_data_curve(
    scores: Moments, fractions_percent: Sequence[float], *, method: int, methods: int
) -> LowDataCurve:
    """The curve of one of `methods` methods. Fractions ascend."""
    count = len(fractions_percent)
    points = np.zeros((count, count * methods))
    points[np.arange(count), np.arange(count) * methods + method] = 1
    (area,) = scores.contrasts(area_weights(fractions_percent) @ points)
    return LowDataCurve(
        fractions_percent=tuple(map(float, fractions_percent)),
        points=scores.contrasts(points),
        area=area,
    )


def area_difference(
    scores: Moments,
    fractions_percent: Sequence[float],
    method: int,
    reference: int,
    *,
    methods: int,
) -> Estimate:
    """Area under the curve of one method − that of another."""
    (difference,) = scores.contrasts(
        area_weights(fractions_percent) @ _gaps(fractions_percent, method, reference, methods)
    )
    return difference


def crossover(
    scores: Moments,
    fractions_percent: Sequence[float],
    method: int,
    reference: int,
    *,
    methods: int,
) -> Crossover:
    """The fraction at which the lead between two methods changes."""
    found = scores.contrasts(_gaps(fractions_percent, method, reference, methods))
    place = float(first_crossing([d.value for d in found], fractions_percent))
    return Crossover(fraction_percent=None if np.isnan(place) else place, differences=found)


def area_weights(fractions_percent: ArrayLike) -> Floats:
    """Weights of the trapezoidal rule that give the mean of a curve over its range."""
    x = np.asarray(fractions_percent, dtype=np.float64)
    steps = np.diff(x)
    weights = np.zeros_like(x)
    weights[:-1] += steps / 2
    weights[1:] += steps / 2
    return np.asarray(weights / (x[-1] - x[0]))


def first_crossing(differences: ArrayLike, fractions_percent: ArrayLike) -> Floats:
    """(...) fraction at which (..., fractions) differences first change sign, else NaN.

    Linear interpolation. A difference of exactly zero is a crossing only if the sign after it is
    another one than before; then the crossing is at the (first) zero.
    """
    x = np.asarray(fractions_percent, dtype=np.float64)
    d = np.asarray(differences, dtype=np.float64)
    found = np.full(d.shape[:-1], np.nan)
    last_d, last_x = d[..., 0], np.full(d.shape[:-1], x[0])
    zero_x = np.full(d.shape[:-1], np.nan)
    for i in range(1, len(x)):
        here = d[..., i]
        change = np.isnan(found) & (np.sign(last_d) * np.sign(here) < 0)
        width = np.where(change, here - last_d, 1.0)
        between = last_x - last_d * (x[i] - last_x) / width
        found = np.where(change, np.where(np.isnan(zero_x), between, zero_x), found)
        zero = here == 0
        zero_x = np.where(zero, np.where(np.isnan(zero_x), x[i], zero_x), np.nan)
        last_d, last_x = np.where(zero, last_d, here), np.where(zero, last_x, x[i])
    return found


def _gaps(fractions_percent: Sequence[float], method: int, reference: int, methods: int) -> Floats:
    """Contrasts of two methods at each fraction."""
    count = len(fractions_percent)
    rows = np.arange(count)
    gaps = np.zeros((count, count * methods))
    gaps[rows, rows * methods + method] += 1
    gaps[rows, rows * methods + reference] -= 1
    return gaps


def _t(difference: Estimate) -> float:
    error = difference.standard_error
    return difference.value / error if error > 0 else float(np.sign(difference.value)) * np.inf
