"""Low-data curves: score against the fraction of training data, its area, and crossovers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from leaderboard.resampling import LEVEL, Estimate, Floats, Resamples, StatisticsError, distribution


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
    """Where the lead between two low-data curves changes for the first time."""

    fraction_percent: float | None
    """Linear interpolation between the fractions; None where one method leads throughout."""
    low_percent: float | None
    high_percent: float | None
    """95 % interval over the resamples that cross; None where none does."""
    share_crossing: float
    """Part of the resamples in which the curves cross at all."""
    seeds: int
    samples: int

    @property
    def resolved(self) -> bool:
        """Whether the curves cross, in at least 95 % of the resamples too."""
        return self.fraction_percent is not None and self.share_crossing >= LEVEL


def low_data_curve(
    resampled: Resamples,
    *,
    method: int,
    fractions_percent: Sequence[float],
    cells: Sequence[Sequence[int]] | None = None,
) -> LowDataCurve:
    """The curve of one method.

    `cells[i]` lists the cells at `fractions_percent[i]`, which are averaged; without it, cell i is
    the only one at fraction i. Fractions ascend. Raises `StatisticsError`.
    """
    groups = _groups(resampled, fractions_percent, cells)
    points = distribution(resampled, lambda s: _by_fraction(s[..., method, :], groups))
    area = distribution(
        resampled,
        lambda s: area_under_curve(_by_fraction(s[..., method, :], groups), fractions_percent),
    )
    return LowDataCurve(
        fractions_percent=tuple(map(float, fractions_percent)),
        points=points.estimates(),
        area=area.estimate(),
    )


def crossover(
    resampled: Resamples,
    *,
    method: int,
    opponent: int,
    fractions_percent: Sequence[float],
    cells: Sequence[Sequence[int]] | None = None,
) -> Crossover:
    """Where the lead between two methods changes; `cells` as for `low_data_curve`."""
    groups = _groups(resampled, fractions_percent, cells)
    differences = distribution(
        resampled, lambda s: _by_fraction(s[..., method, :] - s[..., opponent, :], groups)
    )
    value = first_crossing(differences.value, fractions_percent)
    drawn = first_crossing(differences.draws, fractions_percent)
    crossing = drawn[~np.isnan(drawn)]
    low = high = None
    if len(crossing):
        low, high = map(float, np.quantile(crossing, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    return Crossover(
        fraction_percent=None if np.isnan(value) else float(value),
        low_percent=low,
        high_percent=high,
        share_crossing=len(crossing) / len(drawn),
        seeds=resampled.seeds,
        samples=resampled.samples,
    )


def area_under_curve(scores: ArrayLike, fractions_percent: ArrayLike) -> Floats:
    """Area under (..., fractions) scores, divided by the width of the range of fractions."""
    x = np.asarray(fractions_percent, dtype=np.float64)
    y = np.asarray(scores, dtype=np.float64)
    areas = 0.5 * (y[..., 1:] + y[..., :-1]) * np.diff(x)
    return np.asarray(areas.sum(axis=-1) / (x[-1] - x[0]))


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


def _groups(
    resampled: Resamples,
    fractions_percent: Sequence[float],
    cells: Sequence[Sequence[int]] | None,
) -> list[list[int]]:
    count = resampled.scores.shape[1]
    groups = [list(g) for g in cells] if cells is not None else [[i] for i in range(count)]
    if len(groups) != len(fractions_percent) or len(groups) < 2 or not all(groups):
        raise StatisticsError(
            f"{len(fractions_percent)} fractions and {len(groups)} groups of cells do not make a "
            "curve; give each of at least two fractions its cells."
        )
    if (np.diff(np.asarray(fractions_percent, dtype=np.float64)) <= 0).any():
        raise StatisticsError(f"Fractions {tuple(fractions_percent)} must ascend.")
    return groups


def _by_fraction(scores: Floats, groups: list[list[int]]) -> Floats:
    return np.stack([scores[..., group].mean(axis=-1) for group in groups], axis=-1)
