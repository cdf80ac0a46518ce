"""Low-data curves: hand-worked areas and crossings, and intervals on simulated data."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from leaderboard import published
from leaderboard.curves import area_under_curve, crossover, first_crossing, low_data_curve
from leaderboard.resampling import Resamples, StatisticsError, resample

FRACTIONS = (10, 25, 50, 75, 100)


def scored(curves: ArrayLike, *, noise: float = 0.05, seeds: int = 4) -> Resamples:
    """Methods × fractions, all fractions tested on the same samples."""
    rng = np.random.default_rng(0)
    table = np.asarray(curves, dtype=np.float64)
    cells = [
        c[:, None, None] + noise * rng.standard_normal((len(table), seeds, 80)) for c in table.T
    ]
    return resample(cells, test_sets=["test"] * len(cells), resamples=1000)


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
    table = published.paper().filter(table="IX", test_dataset="CurveFault_B", metric="mae")
    lora, fft = (
        table.filter(method=m).sort("fraction_percent")["value"].to_numpy()
        for m in ("LoRA-PFM", "FFT-PFM")
    )
    assert first_crossing(lora - fft, FRACTIONS) == pytest.approx(50 + 25 * 18 / 27)


def test_a_curve_holds_the_scores_and_their_area() -> None:
    resampled = scored([[0.5, 0.4, 0.3, 0.25, 0.2], [0.9, 0.8, 0.7, 0.6, 0.5]])
    curve = low_data_curve(resampled, method=0, fractions_percent=FRACTIONS)
    values = [p.value for p in curve.points]
    assert values == pytest.approx(resampled.scores[0].tolist())
    assert curve.area.value == pytest.approx(area_under_curve(values, FRACTIONS))
    assert curve.area.low < curve.area.value < curve.area.high
    assert curve.fractions_percent == FRACTIONS
    assert curve.area.seeds == 4


def test_cells_of_a_fraction_are_averaged() -> None:
    resampled = scored([[1.0, 3.0, 5.0, 9.0]], noise=0.0)
    curve = low_data_curve(resampled, method=0, fractions_percent=(10, 100), cells=[(0, 1), (2, 3)])
    assert [p.value for p in curve.points] == pytest.approx([2, 7])


def test_a_clear_crossover_is_resolved_and_its_interval_holds_the_truth() -> None:
    method = [0.30, 0.30, 0.30, 0.30, 0.30]
    opponent = [0.50, 0.42, 0.35, 0.25, 0.20]  # crosses at 62.5 %
    found = crossover(scored([method, opponent]), method=0, opponent=1, fractions_percent=FRACTIONS)
    assert found.resolved
    assert found.share_crossing == 1
    assert found.low_percent is not None and found.high_percent is not None
    assert 50 < found.low_percent < 62.5 < found.high_percent < 75
    assert found.fraction_percent == pytest.approx(62.5, abs=3)


def test_no_crossover_is_none() -> None:
    found = crossover(
        scored([[0.1] * 5, [0.9] * 5]), method=0, opponent=1, fractions_percent=FRACTIONS
    )
    assert found.fraction_percent is found.low_percent is found.high_percent is None
    assert found.share_crossing == 0
    assert not found.resolved


def test_curves_that_may_cross_are_not_resolved() -> None:
    method = [0.30, 0.30, 0.30, 0.30, 0.30]
    opponent = [0.50, 0.42, 0.35, 0.31, 0.293]  # crosses at 90 %, if at all
    found = crossover(
        scored([method, opponent], noise=0.2), method=0, opponent=1, fractions_percent=FRACTIONS
    )
    assert found.fraction_percent is not None
    assert 0.05 < found.share_crossing < 0.95
    assert not found.resolved


@pytest.mark.parametrize(
    ("fractions", "cells", "message"),
    [
        ((10, 25), None, "do not make a curve"),
        ((10, 25, 50, 50, 100), None, "ascend"),
        ((10, 100), [(0,), ()], "give each"),
    ],
)
def test_curves_without_cells_are_refused(
    fractions: tuple[int, ...], cells: list[tuple[int, ...]] | None, message: str
) -> None:
    resampled = scored([[0.1] * 5])
    with pytest.raises(StatisticsError, match=message):
        low_data_curve(resampled, method=0, fractions_percent=fractions, cells=cells)
