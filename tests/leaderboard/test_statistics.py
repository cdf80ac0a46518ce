"""Comparisons, gains, Holm's correction, ranks, the Pareto front and the verdicts."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import ArrayLike
from scipy import stats

from leaderboard import published
from leaderboard.resampling import Estimate, Floats, Resamples, StatisticsError, resample
from leaderboard.statistics import (
    Better,
    Comparison,
    _ranks_of,
    compare_all,
    compare_pairs,
    gain,
    gain_percent,
    gains,
    holm,
    means,
    pareto_front,
    rank,
    tied_groups,
    verdict,
)

BETTER: tuple[Better, ...] = ("lower", "higher")


def compare(resampled: Resamples, *, method: int, opponent: int, better: Better) -> Comparison:
    (found,) = compare_pairs(resampled, [(method, opponent)], better=better)
    return found


def scored(
    levels: ArrayLike, *, seeds: int = 4, samples: int = 60, noise: float = 0.1, seed: int = 0
) -> Resamples:
    """Resamples of methods × cells with these expected scores and independent noise."""
    rng = np.random.default_rng(seed)
    table = np.asarray(levels, dtype=np.float64)
    cells: list[Floats] = [
        column[:, None, None] + noise * rng.standard_normal((len(table), seeds, samples))
        for column in table.T
    ]
    return resample(cells, resamples=1000)


def made(
    value: float,
    low: float,
    high: float,
    *,
    better: Better = "lower",
    p_holm: float = 0.01,
    comparisons: int = 1,
    seeds: int = 5,
) -> Comparison:
    return Comparison(
        difference=Estimate(
            value=value, low=low, high=high, standard_error=0.01, seeds=seeds, samples=100
        ),
        better=better,
        probability_better=0.73,
        p_value=0.01,
        p_holm=p_holm,
        comparisons=comparisons,
    )


def test_a_paired_comparison_of_one_seed_is_students_paired_test() -> None:
    rng = np.random.default_rng(1)
    base = rng.gamma(2.0, size=(1, 150))
    scores = np.stack([base + rng.normal(-0.02, 0.1, base.shape), base])
    found = compare(resample([scores], resamples=10000), method=0, opponent=1, better="lower")
    exact = stats.ttest_rel(scores[0, 0], scores[1, 0])
    low, high = exact.confidence_interval(0.95)
    assert found.difference.value == pytest.approx((scores[0] - scores[1]).mean())
    assert found.difference.low == pytest.approx(low, abs=0.05 * (high - low))
    assert found.difference.high == pytest.approx(high, abs=0.05 * (high - low))
    assert found.p_value == pytest.approx(exact.pvalue, rel=0.2)
    # One-sided p-value and probability of being better are complements in this model.
    one_sided = stats.ttest_rel(scores[0, 0], scores[1, 0], alternative="less").pvalue
    assert found.probability_better == pytest.approx(1 - one_sided, abs=0.01)


def test_a_difference_over_cells_is_the_mean_of_the_cells() -> None:
    resampled = scored([[0.1, 0.5], [0.3, 0.6]], noise=0.0)
    assert compare(
        resampled, method=0, opponent=1, better="lower"
    ).difference.value == pytest.approx(-0.15)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), better=st.sampled_from(["lower", "higher"]))
def test_comparisons_are_antisymmetric(seed: int, better: Better) -> None:
    resampled = scored([[0.4, 0.3], [0.42, 0.31]], seeds=3, samples=20, seed=seed)
    ab = compare(resampled, method=0, opponent=1, better=better)
    ba = compare(resampled, method=1, opponent=0, better=better)
    assert ab.difference.value == pytest.approx(-ba.difference.value)
    assert ab.difference.low == pytest.approx(-ba.difference.high)
    assert ab.difference.high == pytest.approx(-ba.difference.low)
    assert ab.p_value == pytest.approx(ba.p_value)
    assert ab.probability_better == pytest.approx(1 - ba.probability_better)
    assert ab.favours_method != ba.favours_method
    assert ab.resolved == ba.resolved


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), shift=st.floats(-1, 1))
def test_a_shift_of_one_method_shifts_its_difference(seed: int, shift: float) -> None:
    cell = np.random.default_rng(seed).random((2, 3, 20))
    moved = cell + np.array([shift, 0.0])[:, None, None]
    a, b = (
        compare(resample([c], resamples=200), method=0, opponent=1, better="lower").difference
        for c in (cell, moved)
    )
    assert b.value == pytest.approx(a.value + shift, abs=1e-9)
    assert b.low == pytest.approx(a.low + shift, abs=1e-9)
    assert b.high == pytest.approx(a.high + shift, abs=1e-9)


def test_a_method_is_neither_better_nor_worse_than_its_copy() -> None:
    cell = np.random.default_rng(2).random((1, 3, 30)).repeat(2, axis=0)
    found = compare(resample([cell]), method=0, opponent=1, better="lower")
    assert found.difference.value == 0
    assert found.probability_better == 0.5
    assert found.p_value == 1
    assert not found.resolved


def test_the_direction_of_the_score_decides_who_is_better() -> None:
    resampled = scored([[0.4], [0.6]], seeds=1)
    lower = compare(resampled, method=0, opponent=1, better="lower")
    higher = compare(resampled, method=0, opponent=1, better="higher")
    assert lower.probability_better > 0.99 and lower.favours_method
    assert higher.probability_better < 0.01 and not higher.favours_method


def test_holm_agrees_with_a_hand_worked_example() -> None:
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1: 0.02, 0.03, 0.06, then 0.04 raised to 0.06.
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.9, 0.8]), [1.0, 1.0])
    assert holm([]).size == 0


@given(hnp.arrays(np.float64, st.integers(1, 12), elements=st.floats(0, 1)))
def test_holm_lies_between_the_raw_and_bonferronis_values(p: Floats) -> None:
    adjusted = holm(p)
    assert (adjusted >= p).all()
    assert (adjusted <= np.minimum(1, p * len(p)) + 1e-15).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()
    order = np.random.default_rng(0).permutation(len(p))
    np.testing.assert_array_equal(holm(p[order]), adjusted[order])


def test_comparisons_with_one_opponent_are_corrected_together() -> None:
    resampled = scored([[0.30], [0.31], [0.60], [0.30]], seed=3)
    found = compare_all(resampled, opponent=0, better="lower")
    assert list(found) == [1, 2, 3]
    raw = [compare(resampled, method=m, opponent=0, better="lower").p_value for m in (1, 2, 3)]
    np.testing.assert_allclose([c.p_holm for c in found.values()], holm(raw))
    assert {c.comparisons for c in found.values()} == {3}
    assert found[2].resolved and not found[2].favours_method


def test_gains_are_the_papers() -> None:
    # Table V, FlatVel_B: MAE 0.035 → 0.030; Style_B: SSIM 0.631 → 0.753.
    assert gain_percent(0.030, 0.035, better="lower") == pytest.approx(14.2857, abs=1e-4)
    assert gain_percent(0.753, 0.631, better="higher") == pytest.approx(19.3344, abs=1e-4)


def test_gains_of_table_ix_change_sign_where_the_paper_sees_the_crossover() -> None:
    """Section X: trained on Style_B, FFT-PFM overtakes LoRA-PFM on CurveFault_B from 50 %."""
    table = published.paper().filter(table="IX", test_dataset="CurveFault_B", metric="mae")
    values = {
        method: table.filter(method=method).sort("fraction_percent")["value"].to_numpy()
        for method in ("FFT-PFM", "LoRA-PFM")
    }
    gains = gain_percent(values["LoRA-PFM"], values["FFT-PFM"], better="lower")
    assert (np.sign(gains) == [1, 1, 1, -1, -1]).all()


def test_gain_is_the_mean_over_cells_and_holds_its_value() -> None:
    resampled = scored([[0.1, 0.4], [0.2, 0.5]], noise=0.01)
    found = gain(resampled, method=0, opponent=1, better="lower")
    assert found.value == pytest.approx((50 + 20) / 2, abs=1)
    assert found.low < found.value < found.high
    opponent = gain(resampled, method=1, opponent=1, better="lower")
    assert (opponent.value, opponent.low, opponent.high) == (0, 0, 0)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), better=st.sampled_from(["lower", "higher"]))
def test_gain_in_one_cell_has_the_sign_of_the_comparison(seed: int, better: Better) -> None:
    resampled = scored([[0.5], [0.52]], seeds=2, samples=20, seed=seed)
    found = compare(resampled, method=0, opponent=1, better=better)
    percent = gain(resampled, method=0, opponent=1, better=better)
    assert (percent.value > 0) == found.favours_method


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), seeds=st.integers(1, 4), better=st.sampled_from(BETTER))
def test_what_is_asked_of_many_methods_at_once_is_what_each_alone_would_get(
    seed: int, seeds: int, better: Better
) -> None:
    rng = np.random.default_rng(seed)
    scores = [1 + rng.random((4, seeds, 9)) for _ in range(2)]

    def some(methods: list[int]) -> Resamples:
        return resample([cell[methods] for cell in scores], resamples=200)

    pairs = [(0, 1), (2, 1), (3, 0)]
    for (a, b), found in zip(
        pairs, compare_pairs(some([0, 1, 2, 3]), pairs, better=better), strict=True
    ):
        alone = compare(some([a, b]), method=0, opponent=1, better=better)
        assert found.difference.low == pytest.approx(alone.difference.low)
        assert found.difference.high == pytest.approx(alone.difference.high)
        assert found.p_value == pytest.approx(alone.p_value)
        assert found.probability_better == alone.probability_better
    for m, (score, percent) in enumerate(
        zip(
            means(some([0, 1, 2, 3])),
            gains(some([0, 1, 2, 3]), opponent=1, better=better),
            strict=True,
        )
    ):
        assert score.low == pytest.approx(means(some([m]))[0].low)
        assert percent.high == pytest.approx(
            gain(some([m, 1]), method=0, opponent=1, better=better).high, abs=1e-9
        )


def test_gain_over_a_perfect_opponent_is_refused() -> None:
    with pytest.raises(StatisticsError, match="undefined"):
        gain(scored([[0.5], [0.0]], noise=0.0), method=0, opponent=1, better="lower")


@pytest.mark.parametrize("better", ["lower", "higher"])
def test_methods_that_are_not_resolved_share_a_rank(better: Better) -> None:
    sign = 1 if better == "lower" else -1
    resampled = scored(sign * np.array([[0.9], [0.1], [0.5], [0.1]]))
    ranked = rank(resampled, better=better)
    places = {r.method: (r.rank, r.worst_rank) for r in ranked}
    assert places == {1: (1, 2), 3: (1, 2), 2: (3, 3), 0: (4, 4)}
    assert [set(group) for group in tied_groups(ranked)] == [{1, 3}, {2}, {0}]


def test_mean_rank_is_the_mean_over_cells() -> None:
    # Ranks by cell: (1, 2, 3), (1, 2, 3), (2, 1, 3).
    means = [[0.1, 0.1, 0.2], [0.2, 0.2, 0.1], [0.9, 0.9, 0.9]]
    found = {r.method: r.mean_rank for r in rank(scored(means, noise=0.01), better="lower")}
    assert [found[m].value for m in range(3)] == pytest.approx([4 / 3, 5 / 3, 3])
    assert found[2].low == found[2].high == 3


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.float64, (5, 3), elements=st.integers(0, 3)))
def test_ranks_are_those_of_scipy_ties_included(scores: Floats) -> None:
    found = [_ranks_of(m, scores) for m in range(5)]
    np.testing.assert_array_equal(found, stats.rankdata(scores, axis=0))


def test_mean_rank_intervals_hold_their_value() -> None:
    """First in all of 40 cells by less than the noise: resampled ranks hardly ever say so."""
    rng = np.random.default_rng(4)
    cells = [0.1 * rng.standard_normal((2, 1, 60)) for _ in range(40)]
    margin = np.array([-0.005, 0.005])[:, None, None]
    level = [cell - cell.mean(axis=2, keepdims=True) + margin for cell in cells]
    first, second = (r.mean_rank for r in rank(resample(level, resamples=500), better="lower"))
    assert (first.value, second.value) == (1, 2)
    assert first.low == 1 < first.high < 1.7
    assert second.high == 2 > second.low > 1.3


def test_clear_differences_among_twenty_methods_are_resolved() -> None:
    """190 comparisons: p-values counted from 1,000 resamples alone could never pass Holm."""
    ranked = rank(scored(np.arange(20)[:, None] * 1.0), better="lower")
    assert [(r.method, r.rank, r.worst_rank) for r in ranked] == [
        (m, m + 1, m + 1) for m in range(20)
    ]


def test_equal_methods_are_rarely_separated() -> None:
    """Holm holds the chance of any false separation of five equal methods near 5 %, not 30 %."""
    equal = np.full((5, 1), 0.5)
    wrong = sum(
        len(tied_groups(rank(scored(equal, seeds=1, seed=s), better="lower"))) > 1
        for s in range(80)
    )
    assert wrong <= 8


def test_a_single_method_is_first() -> None:
    (only,) = rank(scored([[0.5]]), better="lower")
    assert (only.rank, only.worst_rank) == (1, 1)


def test_pareto_front_of_a_hand_worked_example() -> None:
    cost = [1, 2, 3, 3, 2, np.nan, 1, 4]
    error = [9, 5, 4, 6, 5, 0, 9, np.nan]
    np.testing.assert_array_equal(
        pareto_front(cost, error), [True, True, True, False, True, False, True, False]
    )


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=25))
def test_pareto_front_is_what_nothing_dominates(points: list[tuple[int, int]]) -> None:
    expected = [
        not any(a <= x and b <= y and (a, b) != (x, y) for a, b in points) for x, y in points
    ]
    cost, error = zip(*points, strict=True)
    assert pareto_front(cost, error).tolist() == expected


def say(comparison: Comparison, **options: str) -> str:
    return verdict(comparison, method="lora", opponent="fft", score="MAE", **options)


def test_verdict_of_a_resolved_difference() -> None:
    assert say(made(-0.012, -0.0151, -0.009)) == (
        "lora is better than fft by 0.0120 in MAE "
        "(95 % interval 0.0090 to 0.0151, 5 seeds); resolved."
    )
    assert say(made(12.0, 9.0, 15.0), unit="m/s").startswith(
        "lora is worse than fft by 12.0 m/s in MAE (95 % interval 9.0 m/s to 15.0 m/s"
    )
    higher = made(0.012, 0.009, 0.0151, better="higher")
    assert say(higher).startswith("lora is better than fft by 0.0120")


def test_verdict_of_an_unresolved_difference() -> None:
    assert say(made(-0.002, -0.015, 0.012)) == (
        "Not resolved: lora − fft is −0.002 in MAE (95 % interval −0.015 to 0.012, 5 seeds); "
        "probability that lora is better 73 %."
    )


def test_verdict_of_a_difference_that_the_correction_takes_away() -> None:
    text = say(made(-0.012, -0.0151, -0.009, p_holm=0.19, comparisons=19))
    assert text.startswith("Not resolved after Holm's correction for 19 comparisons (p = 0.19): ")


def test_verdict_of_one_seed_says_so() -> None:
    one = made(-0.012, -0.0151, -0.009, seeds=1)
    assert "one seed" in say(one)
    assert say(one).endswith(
        "One seed: the interval reflects test samples only, not repeated training."
    )


@settings(max_examples=40, deadline=None)
@given(value=st.floats(-1e3, 1e3), half=st.floats(1e-6, 1e3))
def test_verdicts_name_the_winner_that_the_numbers_name(value: float, half: float) -> None:
    assume(abs(value) > 1e-6)
    text = say(made(value, value - half, value + half))
    if half < abs(value):
        assert ("better" if value < 0 else "worse") in text and text.endswith("resolved.")
    elif half > abs(value):
        assert text.startswith("Not resolved")
