"""Scores against scikit-image, numpy, hand-worked values and laws."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.filters import sobel_h, sobel_v
from skimage.metrics import structural_similarity

from bench.errors import UnknownNameError
from bench.seismic import metrics

Maps = NDArray[np.float32]


def random_maps(seed: int, n: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    truth = rng.uniform(-1, 1, (n, 1, 70, 70)).cumsum(-1)
    truth = np.clip(truth / 10, -1, 1)
    prediction = np.clip(truth + rng.normal(0, 0.2, truth.shape), -1, 1)
    return torch.tensor(prediction).float(), torch.tensor(truth).float()


GOLDEN = {
    "mae": (1, 0.0885),
    "rmse": (1, 0.018701),  # a sample's mean square
    "ssim": (1, 0.925742),
    "edge": (1, 1.0),
}
"""Version of each metric, and its value for the pair below in float64. Where a value changes, raise
the metric's version, so that fits are scored again, and put the new one here."""


def golden_pair() -> tuple[torch.Tensor, torch.Tensor]:
    """Steps and ramps on a 70 × 70 grid."""
    z, x = torch.meshgrid(torch.arange(70.0), torch.arange(70.0), indexing="ij")
    truth = torch.where(z < 30, -0.5, 0.5) + 0.002 * x
    prediction = torch.where(z < 31, -0.4, 0.45) + 0.001 * x
    return prediction.view(1, 1, 70, 70), truth.view(1, 1, 70, 70)


@pytest.mark.parametrize("metric", metrics.METRICS, ids=lambda metric: metric.name)
def test_a_version_of_a_metric_stands_for_its_values(metric: metrics.Metric) -> None:
    version, value = GOLDEN[metric.name]
    assert metric.version == version
    assert float(metric.per_sample(*golden_pair())) == pytest.approx(value, abs=1e-5)


def test_errors_against_numpy() -> None:
    prediction, truth = random_maps(0)
    p, t = prediction.numpy().astype(np.float64), truth.numpy().astype(np.float64)
    mae, mse = np.abs(p - t).mean((1, 2, 3)), ((p - t) ** 2).mean((1, 2, 3))
    np.testing.assert_allclose(metrics.mean_absolute_error(prediction, truth), mae, rtol=1e-5)
    np.testing.assert_allclose(metrics.mean_squared_error(prediction, truth), mse, rtol=1e-5)


def test_ssim_against_scikit_image() -> None:
    """Its map on the zero-padded pair, cropped, is the same number."""
    prediction, truth = random_maps(1)
    found = metrics.structural_similarity(prediction, truth)
    for i in range(len(truth)):
        pair = [
            np.pad((m[i, 0].numpy().astype(np.float64) + 1) / 2, 5) for m in (prediction, truth)
        ]
        _, full = structural_similarity(
            *pair,
            win_size=11,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1.0,
            full=True,
        )
        assert float(found[i]) == pytest.approx(full[5:-5, 5:-5].mean(), abs=2e-5)


def test_ssim_is_not_computed_in_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs allow it on GPUs; the setting of before comes back."""
    allowed, convolve = [], torch.nn.functional.conv2d

    def noted(*arguments: Any, **options: Any) -> torch.Tensor:
        allowed.append(torch.backends.cudnn.allow_tf32)
        return convolve(*arguments, **options)

    monkeypatch.setattr(torch.nn.functional, "conv2d", noted)
    before = torch.backends.cudnn.allow_tf32
    metrics.structural_similarity(torch.rand(1, 1, 70, 70), torch.rand(1, 1, 70, 70))
    assert allowed and not any(allowed)
    assert torch.backends.cudnn.allow_tf32 == before


def test_sobel_against_scikit_image() -> None:
    _, truth = random_maps(2, n=1)
    image = truth[0, 0].numpy()
    inner = (slice(1, -1), slice(1, -1))
    expected = np.hypot(sobel_h(image), sobel_v(image))[inner]
    found = metrics.sobel_magnitude(truth)[0, 0].numpy()[inner]
    np.testing.assert_allclose(2 * found, expected, rtol=1e-4, atol=1e-6)


def test_sobel_of_a_ramp_is_its_slope() -> None:
    ramp = torch.arange(70.0).view(1, 1, 1, 70).expand(1, 1, 70, 70) * 0.01
    assert torch.allclose(metrics.sobel_magnitude(ramp)[..., 1:-1], torch.tensor(0.01), atol=1e-6)


@pytest.mark.parametrize(("shift", "expected"), [(0, 1.0), (1, 1.0), (6, 0.0)])
def test_edge_score_of_a_shifted_interface(shift: int, expected: float) -> None:
    z = torch.arange(70.0).view(1, 1, 70, 1).expand(1, 1, 70, 70)
    truth, prediction = (z >= 30).float() - 0.5, (z >= 30 + shift).float() - 0.5
    assert float(metrics.edge_f1(prediction, truth)) == pytest.approx(expected)


def test_edge_score_by_hand() -> None:
    """Truth has two interfaces, the prediction one of them: precision 1, recall 1/2, F1 2/3."""
    z = torch.arange(70.0).view(1, 1, 70, 1).expand(1, 1, 70, 70)
    truth = torch.where(z < 20, -0.8, torch.where(z < 50, 0.0, 0.8))
    prediction = torch.where(z < 20, -0.8, 0.0)
    assert float(metrics.edge_f1(prediction, truth)) == pytest.approx(2 / 3)


def test_edge_score_is_undefined_without_interfaces() -> None:
    flat = torch.zeros(1, 1, 70, 70)
    assert torch.isnan(metrics.edge_f1(flat, flat + 0.3)).all()


@settings(max_examples=20)
@given(st.integers(0, 2**31))
def test_laws(seed: int) -> None:
    prediction, truth = random_maps(seed, n=2)
    assert torch.equal(metrics.mean_absolute_error(truth, truth), torch.zeros(2))
    assert torch.allclose(metrics.structural_similarity(truth, truth), torch.ones(2), atol=1e-5)
    mae, mse = (metrics.get(n).per_sample(prediction, truth) for n in ("mae", "rmse"))
    assert (mse.sqrt() >= mae - 1e-6).all(), "RMSE is never below MAE"
    for metric in metrics.METRICS:
        there, back = metric.per_sample(prediction, truth), metric.per_sample(truth, prediction)
        assert torch.allclose(there, back, atol=1e-5), metric.name
    ssim = metrics.structural_similarity(prediction, truth)
    assert (ssim.abs() <= 1 + 1e-6).all()


# --- the table ----------------------------------------------------------------------------------


def test_over_samples_rmse_is_the_root_of_the_mean_square_and_the_others_are_means() -> None:
    """Of 0.01 and 0.09 the root of the mean is 0.2236, the mean of the roots would be 0.2."""
    values = np.array([0.01, 0.09], dtype=np.float32)
    found = {metric.name: metric.aggregated(values) for metric in metrics.METRICS}
    assert found.pop("rmse") == pytest.approx(math.sqrt(0.05), rel=1e-6)
    assert found == pytest.approx(dict.fromkeys(found, 0.05), rel=1e-6)


def test_rmse_over_samples_is_that_of_all_pixels_together() -> None:
    prediction, truth = random_maps(4, n=5)
    metric = metrics.get("rmse")
    found = metric.aggregated(metric.per_sample(prediction, truth).numpy())
    error = prediction.numpy().astype(np.float64) - truth.numpy()
    assert found == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-5)


def test_samples_without_a_score_are_left_out_and_none_at_all_is_unknown() -> None:
    edge = metrics.get("edge")
    assert edge.aggregated(np.array([np.nan, 0.25, 0.75], dtype=np.float32)) == 0.5
    assert edge.aggregated(np.array([np.nan, np.nan], dtype=np.float32)) is None


def test_names_and_columns_tell_metrics_apart() -> None:
    assert len({metric.name for metric in metrics.METRICS}) == len(metrics.METRICS)
    assert len({metric.column for metric in metrics.METRICS}) == len(metrics.METRICS)
    assert metrics.get("rmse").column == "mse", "as in the score files of schema 1"
    assert all(metric.column == metric.name for metric in metrics.METRICS if metric.name != "rmse")
    assert {m.name: m.better for m in metrics.METRICS if m.name in GOLDEN} == {
        "mae": "lower",
        "rmse": "lower",
        "ssim": "higher",
        "edge": "higher",
    }
    with pytest.raises(UnknownNameError, match="Did you mean 'ssim'"):
        metrics.get("sim")
