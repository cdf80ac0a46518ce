"""Low-data curves: hand-worked areas and crossings, and intervals on simulated data."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from leaderboard.load import reference
from leaderboard.stats.curves import (
    area_difference,
    area_weights,
    crossover,
    first_crossing,
    low_data_curve,
)
from leaderboard.stats.estimates import Moments, moments

FRACTIONS = (10, 25, 50, 75, 100)


def scored(curves: ArrayLike, *, noise: float = 0.05, seeds: int = 4) -> Moments:
    """Methods × fractions, all fractions tested on the same samples."""
    rng = np.random.default_rng(0)
    table = np.asarray(curves, dtype=np.float64).T.reshape(-1)  # fraction after fraction
    values = table[:, None, None] + noise * rng.standard_normal((len(table), seeds, 80))
    return moments(values, np.zeros(80, dtype=np.intp))


def area_under_curve(heights: ArrayLike, fractions: ArrayLike) -> float:
    return float(area_weights(fractions) @ np.asarray(heights))


def test_area_is_the_mean_height() -> None:
    assert area_under_curve([0.3] * 5, FRACTIONS) == pytest.approx(0.3)
    # A straight line: its value in the middle of 10 and 100 %.
    assert area_under_curve([2.0 * f for f in FRACTIONS], FRACTIONS) == pytest.approx(110)
    # Trapezia of 15 and 25, 25, 25 % width by hand: (15·3 + 25·1.5 + 0 + 0)/90.
    assert area_under_curve([4, 2, 1, 0, 0], FRACTIONS) == pytest.approx(
        (15 * 3 + 25 * 1.5 + 25 * 0.5) / 90
    )


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([-2, -1, 1, 2, 3], 37.5),
        ([3, 1, 1, -1, -1], 62.5),
        ([1, -1, 1, -1, 1], 17.5),
        ([1, 0, -1, -1, -1], 25),
        ([1, 0, 0, -1, -1], 25),
        ([0, 1, 1, 1, 1], None),
        ([1, 0, 1, 1, 1], None),
        ([1, 0, 1, -1, -1], 62.5),
        ([1, 1, 1, 1, 0], None),
        ([0, 0, 0, 0, 0], None),
        ([1, 2, 3, 4, 5], None),
    ],
)
def test_first_crossing_by_hand(differences: list[float], expected: float | None) -> None:
    found = first_crossing(differences, FRACTIONS)
    assert np.isnan(found) if expected is None else found == pytest.approx(expected)


@given(st.lists(st.floats(-1, 1).filter(lambda d: abs(d) > 1e-3), min_size=5, max_size=5))
def test_the_interpolated_curve_is_zero_at_the_crossing(differences: list[float]) -> None:
    found = float(first_crossing(differences, FRACTIONS))
    signs = np.sign(differences)
    if (signs == signs[0]).all():
        assert np.isnan(found)
        return
    assert np.interp(found, FRACTIONS, differences) == pytest.approx(0, abs=1e-9)
    before = np.array(FRACTIONS) < found
    assert (signs[before] == signs[0]).all()
    assert first_crossing(-np.array(differences), FRACTIONS) == found


def test_the_papers_crossover_is_found() -> None:
    """Table IX, CurveFault_B, MAE: LoRA − FFT is −0.018 at 50 % and 0.009 at 75 %."""
    table = reference.paper().filter(table="IX", test_dataset="CurveFault_B", metric="mae")
    lora, fft = (
        table.filter(method=m).sort("fraction_percent")["value"].to_numpy()
        for m in ("LoRA-PFM", "FFT-PFM")
    )
    assert first_crossing(lora - fft, FRACTIONS) == pytest.approx(50 + 25 * 18 / 27)


def test_a_curve_holds_the_scores_and_their_area() -> None:
    found = scored([[0.5, 0.4, 0.3, 0.25, 0.2], [0.9, 0.8, 0.7, 0.6, 0.5]])
    curve = low_data_curve(found, FRACTIONS, method=0, methods=2)
    values = [p.value for p in curve.points]
    assert values == pytest.approx(found.means[::2].tolist())
    assert curve.area.value == pytest.approx(area_under_curve(values, FRACTIONS))
    assert curve.area.low < curve.area.value < curve.area.high
    assert curve.fractions_percent == FRACTIONS
    assert curve.area.seeds == 4
    other = low_data_curve(found, FRACTIONS, method=1, methods=2)
    difference = area_difference(found, FRACTIONS, 0, 1, methods=2)
    assert difference.value == pytest.approx(curve.area.value - other.area.value)


def test_a_clear_crossover_is_resolved() -> None:
    method = [0.30, 0.30, 0.30, 0.30, 0.30]
    other = [0.50, 0.42, 0.35, 0.25, 0.20]  # crosses at 62.5 %
    found = crossover(scored([method, other]), FRACTIONS, 0, 1, methods=2)
    assert found.resolved
    assert found.fraction_percent == pytest.approx(62.5, abs=3)


def test_no_crossover_is_none() -> None:
    found = crossover(scored([[0.1] * 5, [0.9] * 5]), FRACTIONS, 0, 1, methods=2)
    assert found.fraction_percent is None
    assert not found.resolved


def test_curves_that_may_cross_are_not_resolved() -> None:
    method = [0.30, 0.30, 0.30, 0.30, 0.30]
    other = [0.50, 0.42, 0.35, 0.31, 0.293]  # crosses at 90 %, if at all
    found = crossover(scored([method, other], noise=0.2), FRACTIONS, 0, 1, methods=2)
    assert not found.resolved
