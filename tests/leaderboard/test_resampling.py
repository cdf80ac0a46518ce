"""The bootstrap against other implementations, analytic intervals and its own laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from leaderboard.stats import bootstrap
from leaderboard.stats.bootstrap import (
    Distribution,
    Floats,
    Resamples,
    Statistic,
    StatisticsError,
    distribution,
    resample,
)


def first(scores: Floats) -> Floats:
    return np.asarray(scores[..., 0, 0])


def difference(scores: Floats) -> Floats:
    return np.asarray((scores[..., 0, :] - scores[..., 1, :]).mean(axis=-1))


def crossed(
    rng: np.random.Generator, *, seeds: int, samples: int, of_seeds: float, of_samples: float
) -> Floats:
    """(1, seeds, samples): an effect of the seed plus an effect of the sample."""
    a = of_seeds * rng.standard_normal((1, seeds, 1))
    return a + of_samples * rng.standard_normal((1, 1, samples))


def one(
    cells: list[Floats], *, statistic: Statistic = "mean", resamples: int = 2000, seed: int = 0
) -> Distribution:
    return distribution(resample(cells, statistic=statistic, resamples=resamples, seed=seed), first)


def test_one_seed_agrees_with_scipys_bootstrap() -> None:
    scores = np.random.default_rng(0).gamma(2.0, size=(2, 1, 300))
    d = distribution(resample([scores], resamples=6000), difference)
    theirs = stats.bootstrap(
        (scores[0, 0] - scores[1, 0],),
        np.mean,
        n_resamples=6000,
        method="percentile",
        rng=np.random.default_rng(1),
    )
    estimate = d.estimate()
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert estimate.value == pytest.approx((scores[0] - scores[1]).mean())
    assert estimate.low == pytest.approx(theirs.confidence_interval.low, abs=0.04 * width)
    assert estimate.high == pytest.approx(theirs.confidence_interval.high, abs=0.04 * width)
    assert estimate.standard_error == pytest.approx(theirs.standard_error, rel=0.04)


def test_root_mean_agrees_with_scipys_bootstrap() -> None:
    squares = np.random.default_rng(2).gamma(1.5, size=(1, 1, 250))
    estimate = one([squares], statistic="root_mean", resamples=6000).estimate()
    theirs = stats.bootstrap(
        (squares[0, 0],),
        lambda x, axis: np.sqrt(np.mean(x, axis=axis)),
        n_resamples=6000,
        method="percentile",
        rng=np.random.default_rng(3),
    )
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert estimate.value == pytest.approx(np.sqrt(squares.mean()))
    assert estimate.low == pytest.approx(theirs.confidence_interval.low, abs=0.04 * width)
    assert estimate.high == pytest.approx(theirs.confidence_interval.high, abs=0.04 * width)


def test_rmse_of_a_method_is_the_mean_over_seeds_of_each_fits_rmse() -> None:
    squares = np.array([[[1.0, 1.0], [9.0, 9.0]]])
    assert resample([squares], statistic="root_mean", resamples=5).scores[0, 0] == 2.0


def test_one_seed_agrees_with_students_interval_and_p_value() -> None:
    x = np.random.default_rng(4).normal(0.15, 1.0, size=(1, 1, 120))
    d = one([x], resamples=20000)
    exact = stats.ttest_1samp(x.ravel(), 0.0)
    low, high = exact.confidence_interval(0.95)
    assert d.estimate().low == pytest.approx(low, abs=0.03 * (high - low))
    assert d.estimate().high == pytest.approx(high, abs=0.03 * (high - low))
    assert d.p_value() == pytest.approx(exact.pvalue, rel=0.15)


def test_p_values_far_below_one_over_the_resamples_follow_students_tail() -> None:
    x = np.random.default_rng(5).normal(0.7, 1.0, size=(1, 1, 100))
    exact = stats.ttest_1samp(x.ravel(), 0.0).pvalue
    assert exact < 1e-6
    assert np.log(one([x]).p_value()) == pytest.approx(np.log(exact), rel=0.15)


def test_counted_p_values_have_one_added() -> None:
    draws = np.concatenate([np.full(15, -1.0), np.full(84, 1.0)])
    d = Distribution(
        value=np.array(0.5),
        draws=draws,
        standard_error=np.array(1.0),
        degrees_of_freedom=10.0,
        seeds=1,
        samples=11,
    )
    assert d.p_value() == pytest.approx(2 * 16 / 100)
    assert d.probability_below_zero() == pytest.approx(15 / 99)


def test_variance_of_crossed_effects_is_unbiased() -> None:
    """Var of the grand mean is var(seed means)/S + var(sample means)/N for additive effects."""
    x = crossed(np.random.default_rng(6), seeds=4, samples=50, of_seeds=0.2, of_samples=1.0)
    d = one([x], resamples=20000)
    of_seeds = x.mean(axis=2).var(ddof=1) / 4
    of_samples = x.mean(axis=1).var(ddof=1) / 50
    assert d.standard_error == pytest.approx(np.sqrt(of_seeds + of_samples), rel=0.03)
    welch = (of_seeds + of_samples) ** 2 / (of_seeds**2 / 3 + of_samples**2 / 49)
    assert d.degrees_of_freedom == pytest.approx(welch, rel=0.1)


@pytest.mark.parametrize("of_seeds", [0.0, 0.3])
def test_interaction_of_seed_and_sample_is_counted_once(of_seeds: float) -> None:
    """Against the analysis of variance of a two-way random layout without replication."""
    rng = np.random.default_rng(15)
    x = crossed(rng, seeds=5, samples=80, of_seeds=of_seeds, of_samples=0.5)
    x = x + rng.standard_normal(x.shape)
    residual = x - x.mean(axis=1, keepdims=True) - x.mean(axis=2, keepdims=True) + x.mean()
    mean_square = (residual**2).sum() / (4 * 79)
    seeds, samples = x.mean(axis=2).var(ddof=1) / 5, x.mean(axis=1).var(ddof=1) / 80
    variance = max(seeds + samples - mean_square / 400, seeds, samples)
    d = one([x], resamples=20000)
    assert d.standard_error == pytest.approx(np.sqrt(variance), rel=0.04)
    half_width = (d.estimate().high - d.estimate().low) / 2
    t = stats.t.ppf(0.975, d.degrees_of_freedom)
    assert half_width == pytest.approx(t * np.sqrt(variance), rel=0.06)


def test_seeds_alone_give_about_students_interval() -> None:
    """Eight seeds and no effect of the sample: df = 7, not the normal distribution."""
    x = np.random.default_rng(7).normal(size=(1, 8, 1)).repeat(5, axis=2)
    low, high = stats.ttest_1samp(x[0, :, 0], 0.0).confidence_interval(0.95)
    d = one([x], resamples=20000)
    assert d.degrees_of_freedom == pytest.approx(7)
    assert d.estimate().low == pytest.approx(low, abs=0.05 * (high - low))
    assert d.estimate().high == pytest.approx(high, abs=0.05 * (high - low))


@pytest.mark.parametrize(("seeds", "of_seeds"), [(1, 0.0), (3, 0.7), (5, 0.3)])
def test_intervals_cover_the_truth(seeds: int, of_seeds: float) -> None:
    """A percentile interval without the correction for few seeds covers 80 % at three seeds."""
    rng = np.random.default_rng(8)
    hits = 0
    for trial in range(200):
        x = crossed(rng, seeds=seeds, samples=40, of_seeds=of_seeds, of_samples=1.0)
        estimate = one([x], resamples=300, seed=trial).estimate()
        hits += estimate.low <= 0 <= estimate.high
    assert 0.90 <= hits / 200 <= 0.99


def test_pairing_removes_what_methods_share() -> None:
    rng = np.random.default_rng(9)
    shared = 10 * crossed(rng, seeds=3, samples=30, of_seeds=1.0, of_samples=1.0)
    own = 0.01 * rng.standard_normal((2, 3, 30))
    resampled = resample([shared + own])
    assert distribution(resampled, difference).standard_error < 0.01
    assert distribution(resampled, first).standard_error > 1


def test_cells_on_one_test_set_are_resampled_alike() -> None:
    x = np.random.default_rng(10).standard_normal((1, 1, 100))

    def mean(scores: Floats) -> Floats:
        return np.asarray(scores[..., 0, :].mean(axis=-1))

    single = distribution(resample([x]), mean).standard_error
    same = distribution(resample([x, x], test_sets=["a", "a"]), mean).standard_error
    other = distribution(resample([x, x], test_sets=["a", "b"]), mean).standard_error
    assert same == pytest.approx(single, rel=0.08)
    assert other == pytest.approx(single / np.sqrt(2), rel=0.08)


def test_seeds_are_resampled_jointly_over_cells() -> None:
    x = np.random.default_rng(11).standard_normal((1, 4, 1)).repeat(6, axis=2)
    draws = resample([x, -x]).draws
    np.testing.assert_allclose(draws[..., 0], -draws[..., 1])


def test_draws_are_a_function_of_seed_and_test_set_only(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(12)
    a, b = rng.random((2, 3, 20)), rng.random((2, 3, 30))
    alone = resample([a], test_sets=["a"], resamples=50).draws[..., 0]
    beside = resample([b, a], test_sets=["b", "a"], resamples=50).draws[..., 1]
    np.testing.assert_array_equal(alone, beside)
    other = resample([a], test_sets=["a"], resamples=50, seed=1).draws[..., 0]
    assert not np.array_equal(alone, other)
    monkeypatch.setattr(bootstrap, "_CHUNK", 7 * 20)
    chunked = resample([a], test_sets=["a"], resamples=50).draws[..., 0]
    np.testing.assert_allclose(alone, chunked, rtol=1e-12)


def test_one_seed_is_said() -> None:
    x = np.random.default_rng(13).random((1, 1, 20))
    estimate = one([x], resamples=100).estimate()
    assert (estimate.seeds, estimate.samples) == (1, 20)
    assert one([x.repeat(2, axis=1)], resamples=100).estimate().seeds == 2


def test_no_variation_gives_no_width() -> None:
    d = one([np.full((1, 3, 10), 0.25)], resamples=100)
    estimate = d.estimate()
    assert estimate.low == pytest.approx(0.25) == estimate.high
    assert d.p_value() == pytest.approx(2 / 101)
    assert one([np.zeros((1, 3, 10))], resamples=100).p_value() == 1.0


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    seeds=st.integers(1, 4),
    shift=st.floats(-10, 10),
    scale=st.floats(0.1, 10),
)
def test_estimates_follow_shift_and_scale(
    seed: int, seeds: int, shift: float, scale: float
) -> None:
    x = np.random.default_rng(seed).random((1, seeds, 12))
    plain = one([x], resamples=200).estimate()
    moved = one([shift + scale * x], resamples=200).estimate()
    for name in ("value", "low", "high"):
        assert getattr(moved, name) == pytest.approx(
            shift + scale * getattr(plain, name), rel=1e-6, abs=1e-8
        )
    assert moved.standard_error == pytest.approx(scale * plain.standard_error, rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_order_of_samples_and_seeds_changes_no_value(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.random((2, 3, 15))
    order = rng.permutation(15), rng.permutation(3)
    moved = x[:, order[1]][:, :, order[0]]
    a, b = (distribution(resample([y], resamples=2000), difference).estimate() for y in (x, moved))
    assert a.value == pytest.approx(b.value, abs=1e-12)
    assert a.standard_error == pytest.approx(b.standard_error, rel=0.15)


def test_picked_and_averaged_cells_keep_their_draws() -> None:
    rng = np.random.default_rng(14)
    resampled = resample([rng.random((2, 2, 9)) for _ in range(3)], resamples=20)
    picked: Resamples = resampled.pick([2, 0])
    np.testing.assert_array_equal(picked.draws, resampled.draws[..., [2, 0]])
    np.testing.assert_allclose(picked.averaged().scores[:, 0], picked.scores.mean(axis=1))


@pytest.mark.parametrize(
    ("cells", "test_sets", "message"),
    [
        ([], None, "no cell"),
        ([np.ones((2, 3))], None, "shape"),
        ([np.ones((2, 3, 4)), np.ones((2, 2, 4))], None, "seeds of the first cell"),
        ([np.ones((1, 1, 1))], None, "two or more"),
        ([np.array([[[1.0, np.nan]]])], None, "undefined"),
        ([np.ones((1, 1, 4)), np.ones((1, 1, 5))], ["a", "a"], "same samples"),
        ([np.ones((1, 1, 4))], ["a", "b"], "2 test sets"),
    ],
)
def test_unusable_scores_are_refused(
    cells: list[Floats], test_sets: list[str] | None, message: str
) -> None:
    with pytest.raises(StatisticsError, match=message):
        resample(cells, test_sets=test_sets)
