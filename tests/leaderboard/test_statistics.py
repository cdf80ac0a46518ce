"""Closed-form estimates, comparisons, Holm's correction, ranks, the Pareto front, verdicts."""

from itertools import combinations

import matrix
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import ArrayLike
from scipy import stats

from leaderboard.load import reference
from leaderboard.stats import estimates
from leaderboard.stats.comparisons import (
    Better,
    Comparison,
    all_pairs,
    compare_pairs,
    gain_percent,
    holm,
    mean_ranks,
    pareto_front,
    rank,
    tied_groups,
    verdict,
)
from leaderboard.stats.estimates import Estimate, Floats, Moments, by_group, moments


def one_set(values: Floats) -> Moments:
    """Of (methods, seeds, samples) on one test set."""
    return moments(values, np.zeros(values.shape[2], dtype=np.intp))


def scored(
    levels: ArrayLike, *, seeds: int = 4, samples: int = 60, noise: float = 0.1, seed: int = 0
) -> Moments:
    """Methods with these expected scores and independent noise, on one test set."""
    rng = np.random.default_rng(seed)
    table = np.asarray(levels, dtype=np.float64)
    return one_set(table[:, None, None] + noise * rng.standard_normal((len(table), seeds, samples)))


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
    half = (high - low) / 2
    return Comparison(
        difference=Estimate(
            value=value,
            low=low,
            high=high,
            standard_error=half / 1.96,
            degrees_of_freedom=1e6,
            seeds=seeds,
            samples=100,
            p_value=float(2 * stats.norm.sf(abs(value) / half * 1.96)),
        ),
        better=better,
        p_holm=p_holm,
        comparisons=comparisons,
    )


def test_one_seed_on_one_test_set_is_students_paired_test() -> None:
    rng = np.random.default_rng(1)
    base = rng.gamma(2.0, size=(1, 150))
    scores = np.stack([base + rng.normal(-0.02, 0.1, base.shape), base])
    (found,) = one_set(scores).differences([0], [1])
    exact = stats.ttest_rel(scores[0, 0], scores[1, 0])
    low, high = exact.confidence_interval(0.95)
    assert found.value == pytest.approx((scores[0] - scores[1]).mean())
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.p_value == pytest.approx(exact.pvalue)
    one_sided = stats.ttest_rel(scores[0, 0], scores[1, 0], alternative="less").pvalue
    assert found.probability_below_zero == pytest.approx(1 - one_sided)


def test_seeds_alone_are_students_test_over_seeds() -> None:
    """Where all samples of a fit score the same, only seeds vary."""
    levels = np.array([0.3, 0.35, 0.31, 0.4])
    values = np.broadcast_to(levels[None, :, None], (1, 4, 20)).copy()
    (found,) = one_set(values).estimates()
    low, high = stats.ttest_1samp(levels, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.degrees_of_freedom == pytest.approx(3)


def test_strata_are_welchs_test() -> None:
    """Two test sets with weights +1 and −1: the difference of two independent means."""
    rng = np.random.default_rng(3)
    a, b = rng.normal(0.3, 0.1, 40), rng.normal(0.25, 0.3, 25)
    values = np.concatenate([a, -b])[None, None]
    (found,) = moments(values, np.repeat([0, 1], [40, 25])).estimates()
    exact = stats.ttest_ind(a, b, equal_var=False)
    assert found.p_value == pytest.approx(exact.pvalue)
    low, high = exact.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((low, high))


@pytest.mark.parametrize("of_seeds", [0.0, 0.01, 0.02, 0.05])
@pytest.mark.parametrize("seeds", [3, 5])
def test_intervals_cover(seeds: int, of_seeds: float) -> None:
    """Simulated: seeds, samples and their interaction; nominal 95 %."""
    rng = np.random.default_rng(7)
    inside = 0
    for _ in range(50):  # each with forty independent experiments
        values = (
            0.05 * rng.standard_normal((40, 1, 60))
            + of_seeds * rng.standard_normal((40, seeds, 1))
            + 0.02 * rng.standard_normal((40, seeds, 60))
        )
        inside += sum(found.low <= 0 <= found.high for found in one_set(values).estimates())
    assert inside / 2000 >= 0.935


@pytest.mark.parametrize("share", matrix.part([0.05, 0.3, 0.6, 0.8, 0.95], 0.05, 0.95))
def test_p_values_hold_what_they_say_in_the_far_tail(share: float) -> None:
    """Where Holm's correction looks: three seeds, of which a share of the variance is; simulated
    from the distributions of the variances, 100,000 experiments without any difference."""
    rng, count = np.random.default_rng(11), 100_000
    of_seeds = share * rng.chisquare(2, count) / 2
    of_samples = (1 - share) * rng.chisquare(500, count) / 500
    value = rng.standard_normal(count)
    found = estimates._p_values(
        value, of_seeds, np.full(count, 2.0), of_samples, np.full(count, 500.0)
    )
    for level in (0.05, 0.0024, 0.0005):
        assert (found <= level).mean() <= 1.15 * level + 3 * np.sqrt(level / count)


def test_a_p_value_is_the_level_at_which_the_interval_ends_at_zero() -> None:
    rng = np.random.default_rng(5)
    values = 0.03 + 0.05 * rng.standard_normal((30, 1, 40)) + 0.03 * rng.standard_normal((30, 3, 1))
    found = one_set(values).estimates()
    assert {f.p_value < 0.05 for f in found} == {True, False}
    assert all(f.excludes_zero == (f.p_value < 0.05) for f in found)


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), seeds=st.integers(1, 4))
def test_groups_at_once_are_what_each_alone_would_get(seed: int, seeds: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.random((3, seeds, 7))
    together = by_group(dict(enumerate(values)))
    for m, alone in enumerate(one_set(values).estimates()):
        found = together[m]
        assert found.low == pytest.approx(alone.low)
        assert found.high == pytest.approx(alone.high)
        assert found.degrees_of_freedom == pytest.approx(alone.degrees_of_freedom)
        assert (found.seeds, found.samples) == (alone.seeds, alone.samples)


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), better=st.sampled_from(["lower", "higher"]))
def test_comparisons_are_antisymmetric(seed: int, better: Better) -> None:
    found = scored([0.4, 0.42], seeds=3, samples=20, seed=seed)
    pairs = all_pairs(found, better=better)
    ab, ba = pairs[0, 1], pairs[1, 0]
    assert ab.difference.value == pytest.approx(-ba.difference.value)
    assert ab.difference.low == pytest.approx(-ba.difference.high)
    assert ab.p_value == pytest.approx(ba.p_value)
    assert ab.probability_better == pytest.approx(1 - ba.probability_better)
    assert ab.favours_method != ba.favours_method
    assert ab.resolved == ba.resolved


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), shift=st.floats(-1, 1))
def test_a_shift_of_one_method_shifts_its_difference(seed: int, shift: float) -> None:
    cell = np.random.default_rng(seed).random((2, 3, 20))
    moved = cell + np.array([shift, 0.0])[:, None, None]
    (a,), (b,) = (one_set(c).differences([0], [1]) for c in (cell, moved))
    assert b.value == pytest.approx(a.value + shift, abs=1e-9)
    assert b.low == pytest.approx(a.low + shift, abs=1e-9)


def test_a_method_is_neither_better_nor_worse_than_its_copy() -> None:
    cell = np.random.default_rng(2).random((1, 3, 30)).repeat(2, axis=0)
    (found,) = compare_pairs(one_set(cell), [(0, 1)], better="lower")
    assert found.difference.value == 0
    assert found.probability_better == 0.5
    assert found.p_value == 1
    assert not found.resolved


def test_below_three_seeds_nothing_is_resolved() -> None:
    for seeds, resolved in ((1, False), (2, False), (3, True)):
        (found,) = compare_pairs(scored([0.1, 0.9], seeds=seeds), [(0, 1)], better="lower")
        assert found.significant
        assert found.resolved is resolved


def test_a_test_set_of_one_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="two or more"):
        one_set(np.ones((1, 3, 1)))


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


def test_comparisons_of_one_family_are_corrected_together() -> None:
    found = scored([0.30, 0.31, 0.60, 0.30], seed=3)
    pairs = [(m, 0) for m in (1, 2, 3)]
    together = compare_pairs(found, pairs, better="lower")
    raw = [d.p_value for d in found.differences([1, 2, 3], [0, 0, 0])]
    np.testing.assert_allclose([c.p_holm for c in together], holm(raw))
    assert {c.comparisons for c in together} == {3}
    assert together[1].resolved and not together[1].favours_method


def test_gains_are_the_papers() -> None:
    # Table V, FlatVel_B: MAE 0.035 → 0.030; Style_B: SSIM 0.631 → 0.753.
    assert gain_percent(0.030, 0.035, better="lower") == pytest.approx(14.2857, abs=1e-4)
    assert gain_percent(0.753, 0.631, better="higher") == pytest.approx(19.3344, abs=1e-4)


def test_gains_of_table_ix_change_sign_where_the_paper_sees_the_crossover() -> None:
    """Section X: trained on Style_B, FFT-PFM overtakes LoRA-PFM on CurveFault_B from 50 %."""
    table = reference.paper().filter(table="IX", test_dataset="CurveFault_B", metric="mae")
    values = {
        method: table.filter(method=method).sort("fraction_percent")["value"].to_numpy()
        for method in ("FFT-PFM", "LoRA-PFM")
    }
    found = gain_percent(values["LoRA-PFM"], values["FFT-PFM"], better="lower")
    assert (np.sign(found) == [1, 1, 1, -1, -1]).all()


@pytest.mark.parametrize("better", ["lower", "higher"])
def test_methods_that_are_not_told_apart_share_a_rank(better: Better) -> None:
    sign = 1 if better == "lower" else -1
    ranked = rank(scored(sign * np.array([0.9, 0.1, 0.5, 0.1])), better=better)
    places = {r.method: (r.rank, r.worst_rank) for r in ranked}
    assert places == {1: (1, 2), 3: (1, 2), 2: (3, 3), 0: (4, 4)}
    assert [set(group) for group in tied_groups(ranked)] == [{1, 3}, {2}, {0}]


def test_mean_rank_is_the_mean_over_cells() -> None:
    # Ranks by cell: (1, 2, 3), (1, 2, 3), (2, 1, 3).
    means = np.array([[0.1, 0.1, 0.2], [0.2, 0.2, 0.1], [0.9, 0.9, 0.9]])
    assert mean_ranks(means, better="lower") == pytest.approx([4 / 3, 5 / 3, 3])
    assert mean_ranks(means, better="higher") == pytest.approx([8 / 3, 7 / 3, 1])


def test_clear_differences_among_twenty_methods_are_told() -> None:
    ranked = rank(scored(np.arange(20) * 1.0), better="lower")
    assert [(r.method, r.rank, r.worst_rank) for r in ranked] == [
        (m, m + 1, m + 1) for m in range(20)
    ]


def test_equal_methods_are_rarely_separated() -> None:
    """Holm holds the chance of any false separation of five equal methods near 5 %, not 30 %."""
    wrong = sum(
        len(tied_groups(rank(scored([0.5] * 5, seeds=3, seed=s), better="lower"))) > 1
        for s in range(200)
    )
    assert wrong <= 20


def test_a_single_method_is_first() -> None:
    (only,) = rank(scored([0.5]), better="lower")
    assert (only.rank, only.worst_rank) == (1, 1)


def test_all_pairs_are_one_family() -> None:
    pairs = all_pairs(scored([0.1, 0.2, 0.3]), better="lower")
    assert set(pairs) == {(a, b) for a in range(3) for b in range(3) if a != b}
    assert {c.comparisons for c in pairs.values()} == {len(list(combinations(range(3), 2)))}


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
    return verdict(comparison, method="lora", reference="fft", score="MAE", **options)


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
    text = say(made(-0.002, -0.015, 0.012))
    assert text.startswith(
        "Not resolved: lora − fft is −0.002 in MAE (95 % interval −0.015 to 0.012, 5 seeds); "
        "probability that lora is better 6"
    )


def test_verdict_of_a_difference_that_the_correction_takes_away() -> None:
    text = say(made(-0.012, -0.0151, -0.009, p_holm=0.19, comparisons=19))
    assert text.startswith("Not resolved after Holm's correction for 19 comparisons (p = 0.19): ")


def test_verdict_of_one_seed_is_provisional() -> None:
    text = say(made(-0.012, -0.0151, -0.009, seeds=1))
    assert text.startswith("Provisional: lora is better than fft by 0.0120")
    assert "one seed" in text
    assert text.endswith("3 seeds or more are needed to resolve it.")


@settings(max_examples=40)
@given(value=st.floats(-1e3, 1e3), half=st.floats(1e-6, 1e3))
def test_verdicts_name_the_winner_that_the_numbers_name(value: float, half: float) -> None:
    assume(abs(value) > 1e-6)
    text = say(made(value, value - half, value + half))
    if half < abs(value):
        assert ("better" if value < 0 else "worse") in text and text.endswith("resolved.")
    elif half > abs(value):
        assert text.startswith("Not resolved")
