"""Generated maps against the published statistics, the geology and real samples of OpenFWI."""

import hashlib
import itertools
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import matrix
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage, stats
from skimage.filters import sobel_h, sobel_v

from bench.errors import BenchError
from bench.protocol.spec import DATASETS
from bench.protocol.survey import GENERATOR_VERSION
from bench.seeds import derive
from bench.seismic.generators import FAULT_LAYERS, faulted, velocity_map

Maps = NDArray[np.float32]

COUNT = 1000
"""Maps a dataset."""

PUBLISHED = {
    "FlatVel_A": (2782.0, 786.2),
    "FlatVel_B": (3001.3, 866.7),
    "CurveVel_A": (2788.2, 794.2),
    "CurveVel_B": (2999.9, 866.1),
    "FlatFault_A": (3088.9, 855.0),
    "FlatFault_B": (3055.8, 875.8),
    "CurveFault_A": (3082.7, 852.5),
    "CurveFault_B": (3035.8, 890.2),
    "Style_A": (2728.7, 666.2),
    "Style_B": (2837.6, 637.9),
}
"""Mean and standard deviation of velocity, m/s, over all maps of the release of OpenFWI
(Deng et al. 2022, arXiv:2111.02926)."""

FLAT_FAULTS = ("FlatFault_A", "FlatFault_B")
FAULTS = (*FLAT_FAULTS, "CurveFault_A", "CurveFault_B")
QUICK = ("FlatVel_A", "FlatVel_B", "CurveVel_B", "FlatFault_B", "CurveFault_B", "Style_A")


def layers_of(dataset: str, number: int) -> int | None:
    """Equal numbers of each layer count, as in the release."""
    if dataset not in FAULTS:
        return None
    counts = FAULT_LAYERS[dataset[-1]]
    return counts[number % len(counts)]


def one_map(dataset: str, seed: int) -> Maps:
    rng = np.random.default_rng([2024, seed])
    return velocity_map(dataset, rng, layers=layers_of(dataset, seed))


@pytest.fixture(scope="module")
def maps() -> Callable[[str], Maps]:
    """The maps of a dataset, (COUNT, 70, 70) m/s, made once."""
    return cache(lambda dataset: np.stack([one_map(dataset, i) for i in range(COUNT)]))


def unit(velocity: NDArray[np.floating]) -> NDArray[np.float64]:
    """A map on [0, 1], as the digitised real maps are."""
    wide = velocity.astype(np.float64)
    return (wide - wide.min()) / np.ptp(wide)


def information(velocity: NDArray[np.floating]) -> float:
    """Mean magnitude of the Sobel gradient of a map on [0, 1]."""
    relative = unit(velocity)
    return float(np.hypot(sobel_h(relative), sobel_v(relative)).mean())


def texture(velocity: Maps) -> NDArray[np.float64]:
    """What is left of maps (n, z, x) after each row's mean."""
    return velocity - velocity.mean(axis=2, keepdims=True, dtype=np.float64)


def top_surface(rising: Maps) -> NDArray[np.int64]:
    """Depth of the first interface at each column of sorted maps (n, z, x), in cells."""
    return np.count_nonzero(rising == rising.min(axis=(1, 2), keepdims=True), axis=1)


# ------------------------------------------------------------------------------- all datasets


@pytest.mark.parametrize("dataset", matrix.part(DATASETS, *QUICK))
def test_statistics_are_those_of_the_release(maps: Callable[[str], Maps], dataset: str) -> None:
    mean, std = PUBLISHED[dataset]
    velocity = maps(dataset).astype(np.float64)
    assert velocity.mean() == pytest.approx(mean, rel=0.03)
    assert velocity.std() == pytest.approx(std, rel=0.03)
    # No map is tuned to the dataset's mean: they differ as independent draws do
    assert velocity.mean(axis=(1, 2)).std() > 90.0


@pytest.mark.parametrize("dataset", matrix.part(DATASETS, *QUICK))
def test_shape_type_and_range(maps: Callable[[str], Maps], dataset: str) -> None:
    velocity = maps(dataset)
    assert velocity.shape == (COUNT, 70, 70)
    assert velocity.dtype == np.float32
    low, high = velocity.min(), velocity.max()
    assert 1500.0 <= low < 1550.0
    assert 4400.0 < high <= 4500.0
    assert (np.ptp(velocity, axis=(1, 2)) > 0.0).mean() > 0.999
    whole = velocity == np.round(velocity)
    assert whole.mean() < 0.1 if dataset.startswith("Style") else whole.all()


@pytest.mark.parametrize("dataset", DATASETS)
def test_depends_on_the_generator_alone(dataset: str) -> None:
    first, other, again = (one_map(dataset, seed) for seed in (5, 8, 5))
    np.testing.assert_array_equal(again, first)
    assert not np.array_equal(other, first)


def test_a_new_generator_has_a_new_version() -> None:
    """Change the version with the maps: it is part of the fingerprint of generated tracks."""
    digest = hashlib.sha256()
    for dataset, seed in itertools.product(DATASETS, range(3)):
        digest.update(np.round(one_map(dataset, seed)).astype("<i2").tobytes())
    assert (GENERATOR_VERSION, digest.hexdigest()[:16]) == (2, "ff9bf1ce204d6d22")


@given(seed=st.integers(0, 2**32), dataset=st.sampled_from(DATASETS))
@settings(max_examples=60)
def test_every_seed_gives_a_valid_map(seed: int, dataset: str) -> None:
    velocity = one_map(dataset, seed)
    assert velocity.shape == (70, 70)
    assert velocity.min() >= 1500.0
    assert velocity.max() <= 4500.0
    assert np.isfinite(velocity).all()


@pytest.mark.parametrize(
    ("dataset", "seed", "number"), [("CurveVel_B", 2, 3169), ("CurveVel_A", 32, 2065)]
)
def test_a_curve_may_end_before_the_last_column(dataset: str, seed: int, number: int) -> None:
    """Its knots lie too close to reach it, which is rare; it goes on flat."""
    rng = np.random.default_rng(derive(seed, "map", dataset, number))
    velocity = velocity_map(dataset, rng)
    assert velocity.shape == (70, 70)
    assert np.isfinite(velocity).all()


@pytest.mark.parametrize(
    ("dataset", "layers"),
    [
        ("FlatVel_C", None),
        ("FlatFault_A", None),
        ("FlatFault_A", 6),
        ("CurveFault_B", 4),
        ("FlatVel_A", 3),
        ("Style_B", 6),
    ],
)
def test_wrong_names_and_layer_counts_are_refused(dataset: str, layers: int | None) -> None:
    with pytest.raises(BenchError, match=dataset):
        velocity_map(dataset, np.random.default_rng(0), layers=layers)


# ------------------------------------------------------------------------------------- Vel


@pytest.mark.parametrize("dataset", ["FlatVel_A", "FlatVel_B"])
def test_flat_layers_are_evenly_spaced(maps: Callable[[str], Maps], dataset: str) -> None:
    velocity = maps(dataset)
    assert (velocity == velocity[:, :, :1]).all()
    edges = [np.flatnonzero(np.diff(column)) + 1 for column in velocity[:, :, 0]]
    assert min(map(len, edges)) == 1
    assert max(map(len, edges)) == 7
    edges = [e for e in edges if len(e) > 1]
    # Two neighbours of equal velocity look like one layer: one map in a few hundred
    steps = [np.diff(e) for e in edges]
    assert np.mean([np.ptp(s) <= 3 for s in steps]) > 0.99
    counts = np.array([70.0 / s.mean() for s in steps])
    assert (np.abs(counts - np.round(counts)) < 0.5 + 1e-9).all()
    seen = np.bincount(np.round(counts).astype(int), minlength=9) / COUNT
    assert seen[3:8].min() > 0.13
    assert seen[2:8].sum() > 0.9
    first = np.array([e[0] / s.mean() for e, s in zip(edges, steps, strict=True)])
    assert np.quantile(first, [0.01, 0.5, 0.99]) == pytest.approx([0.45, 0.92, 1.4], abs=0.08)


@pytest.mark.parametrize("dataset", ["FlatVel_A", "CurveVel_A", *FLAT_FAULTS])
def test_velocity_grows_with_depth_in_sorted_datasets(
    maps: Callable[[str], Maps], dataset: str
) -> None:
    falls = (np.diff(maps(dataset), axis=1) < 0.0).mean()
    # Reverse faults, thrust over slower rock, are the exception
    assert falls < 0.02 if "Fault" in dataset else falls == 0.0


@pytest.mark.parametrize("dataset", ["FlatVel_B", "CurveVel_B"])
def test_unsorted_velocities_are_independent_and_uniform(
    maps: Callable[[str], Maps], dataset: str
) -> None:
    velocity = maps(dataset)
    top, bottom = velocity[:, 0, 35], velocity[:, 69, 35]
    for layer in (top, bottom):
        assert stats.kstest(layer, stats.uniform(1500.0, 3000.0).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(top, bottom)[0, 1]) < 0.12
    rising = (np.diff(velocity, axis=1) >= 0.0).all(axis=(1, 2)).mean()
    assert rising < 0.1


def test_curved_layers_share_one_curve(maps: Callable[[str], Maps]) -> None:
    swings, misfits, turns = [], [], []
    for velocity in maps("CurveVel_A"):
        values = np.unique(velocity)
        assert 2 <= len(values) <= 8
        first, second = (np.count_nonzero(velocity <= v, axis=0) for v in values[:2])
        inside = second < 70
        gap = (second - first)[inside]
        if not inside.any():  # two layers: the second interface is that to the bottom
            continue
        swings.append(np.ptp(first[inside]))
        misfits.append(np.ptp(gap))
        smooth = ndimage.gaussian_filter1d(first.astype(float), 1.5)
        turns.append(np.count_nonzero(np.diff(np.sign(np.diff(smooth)))))
    # Interfaces follow the curve to ± 1 cell each, plus rounding
    assert max(misfits) <= 6
    assert np.median(misfits) <= 3
    assert np.median(swings) > 10
    assert np.quantile(swings, 0.99) < 60
    assert 3 <= np.median(turns) <= 8


def test_curves_swing_more_to_the_right(maps: Callable[[str], Maps]) -> None:
    first = top_surface(maps("CurveVel_A"))
    assert np.ptp(first[:, 35:], axis=1).mean() > 1.2 * np.ptp(first[:, :35], axis=1).mean()


# ----------------------------------------------------------------------------------- Fault


@pytest.mark.parametrize("dataset", matrix.part(FAULTS, "CurveFault_B"))
def test_layer_counts_and_sharpness_of_faulted_maps(
    maps: Callable[[str], Maps], dataset: str
) -> None:
    visible, blended = [], []
    for number, velocity in enumerate(maps(dataset)[:600]):
        layers = layers_of(dataset, number)
        values, cells = np.unique(velocity, return_counts=True)
        largest = values[np.argsort(cells)[::-1][:layers]]
        between = ~np.isin(velocity, largest)
        visible.append(min(len(values), layers) == layers)
        blended.append(between.mean())
        # Between two layers lies one blended cell, never a wide ramp
        assert not ndimage.binary_erosion(between, np.ones((3, 3))).any()
    if dataset.endswith("A"):
        assert 0.005 < np.mean(blended) < 0.06
    else:
        assert max(blended) == 0.0
    assert np.mean(visible) > 0.75


@pytest.mark.parametrize("dataset", FAULTS)
def test_number_of_faults(monkeypatch: pytest.MonkeyPatch, dataset: str) -> None:
    slips: list[int] = []
    slip = faulted.slip

    def counted(*place: Any, **options: Any) -> faulted.Rock:
        slips[-1] += 1
        return slip(*place, **options)

    monkeypatch.setattr(faulted, "slip", counted)
    for seed in range(60):
        slips.append(0)
        one_map(dataset, seed)
    assert set(slips) == ({1} if dataset.endswith("A") else {2, 3, 4})


def plateaus(velocity: Maps) -> int:
    """Largest number of levels, four columns or wider, on which one flat interface lies."""
    values, cells = np.unique(velocity, return_counts=True)
    values = values[cells > 40]
    counts = []
    for low, high in itertools.pairwise(values):
        depth = np.count_nonzero(velocity <= 0.5 * (low + high), axis=0)
        runs = np.split(depth, np.flatnonzero(np.diff(depth)) + 1)
        counts.append(len({int(run[0]) for run in runs if len(run) >= 4}))
    return max(counts, default=0)


def test_flat_layers_show_one_fault_in_a_and_several_in_b(maps: Callable[[str], Maps]) -> None:
    easy = np.array([plateaus(m) for m in maps("FlatFault_A")[:300]])
    hard = np.array([plateaus(m) for m in maps("FlatFault_B")[:300]])
    assert (easy == 2).mean() > 0.85
    assert easy.max() <= 3
    assert (hard >= 3).mean() > 0.6


def test_faults_of_a_are_mostly_normal(maps: Callable[[str], Maps]) -> None:
    """A normal fault dips towards the side that went down, so no column meets a layer twice."""
    falls = (np.diff(maps("FlatFault_A"), axis=1) < 0.0).any(axis=(1, 2)).mean()
    assert 0.03 < falls < 0.2


@pytest.mark.parametrize("kind", matrix.part(["A", "B"], "B"))
def test_curved_faults_bend_the_layers(maps: Callable[[str], Maps], kind: str) -> None:
    """Flat layers change from one column to the next only at faults, bent ones nearly always."""
    flat, bent = (
        (np.diff(maps(f"{name}_{kind}")[:300], axis=2) != 0.0).any(axis=1).mean()
        for name in ("FlatFault", "CurveFault")
    )
    assert bent > 0.75
    assert flat < 0.75 * bent


# ----------------------------------------------------------------------------------- Style


@pytest.mark.parametrize("dataset", matrix.part(["Style_A", "Style_B"], "Style_A"))
def test_styles_grow_with_depth(maps: Callable[[str], Maps], dataset: str) -> None:
    profiles = maps(dataset).mean(axis=2)
    mean = profiles.mean(axis=0)
    assert (np.diff(mean[::5]) > 0.0).all()
    assert mean[-5:].mean() - mean[:5].mean() > 1500.0
    correlations = [np.corrcoef(p, np.arange(70))[0, 1] for p in profiles]
    assert np.quantile(correlations, 0.05) > 0.8


def correlation(velocity: Maps, lag: int) -> float:
    """Mean lateral correlation, over maps, of texture `lag` cells apart."""
    rest = texture(velocity)
    return float(
        np.mean((rest[:, :, :-lag] * rest[:, :, lag:]).mean((1, 2)) / (rest**2).mean((1, 2)))
    )


def test_correlation_length_of_smooth_style(maps: Callable[[str], Maps]) -> None:
    """A field blurred by a Gaussian of length l has the correlation exp(-lag²/4l²)."""
    length = 4.0 / np.sqrt(-4.0 * np.log(correlation(maps("Style_A"), 4)))
    assert length == pytest.approx(3.5, abs=0.5)
    assert correlation(maps("Style_B"), 4) < correlation(maps("Style_A"), 4) - 0.2


def test_outlines_are_sharp_in_b_and_not_in_a(maps: Callable[[str], Maps]) -> None:
    """Step between neighbours, in parts of the map's range: real maps have 0.13 and 0.03."""
    smooth, sharp = (
        [np.quantile(np.abs(np.diff(unit(m), axis=1)), [0.5, 0.97]) for m in maps(d)[:300]]
        for d in ("Style_A", "Style_B")
    )
    assert np.median(smooth, axis=0)[1] < 0.05
    middle, edge = np.median(sharp, axis=0)
    assert edge > 0.1
    assert edge > 10.0 * middle


# ---------------------------------------------------------------------------- real samples


@pytest.fixture(scope="module")
def digitised(openfwi_samples: Path) -> dict[str, Maps]:
    """Thirty real maps on [0, 1], by dataset."""
    with np.load(openfwi_samples / "digitised_maps_30.npz") as file:
        family, relative = file["family"], file["maps01"]
    return {name: relative[family == name] for name in map(str, np.unique(family))}


def test_rank_order_of_spatial_information(
    maps: Callable[[str], Maps], digitised: dict[str, Maps]
) -> None:
    real = {d: [information(m) for m in v] for d, v in digitised.items() if len(v) >= 3}
    told = 0
    for first, second in itertools.combinations(real, 2):
        a, b = real[first], real[second]
        error = np.sqrt(np.var(a, ddof=1) / len(a) + np.var(b, ddof=1) / len(b))
        if abs(np.mean(a) - np.mean(b)) < 2.0 * error:
            continue
        told += 1
        ours = [np.mean([information(m) for m in maps(d)[:150]]) for d in (first, second)]
        assert (ours[0] < ours[1]) == (np.mean(a) < np.mean(b)), (first, second)
    assert told >= 8


def test_real_maps_lie_within_the_generated(
    maps: Callable[[str], Maps], digitised: dict[str, Maps]
) -> None:
    """Mean, spread, information and texture of each real map are usual among generated ones."""

    def facts(velocity: NDArray[np.floating]) -> list[float]:
        relative = unit(velocity)
        rest = relative - relative.mean(axis=1, keepdims=True)
        return [relative.mean(), relative.std(), information(velocity), rest.std()]

    outside = []
    for dataset, real in digitised.items():
        ours = np.array([facts(m) for m in maps(dataset)[:300]])
        low, high = np.quantile(ours, [0.005, 0.995], axis=0)
        margin = 0.1 * (high - low) + 1e-3
        for number, velocity in enumerate(real):
            fact = np.array(facts(velocity))
            if ((fact < low - margin) | (fact > high + margin)).any():
                outside.append((dataset, number, fact, low, high))
    assert len(outside) <= 1, outside
