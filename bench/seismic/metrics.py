"""The metrics of predicted velocity maps: one table, and one function for each entry.

A score function takes a prediction and the truth of shape (n, 1, 70, 70), on [-1, 1], and returns
(n,) float32. To add a metric, write such a function and add an entry to `METRICS`: records, score
files, commands and pages read the table. Metrics are no part of a training's identity; fits that
lack one get it by being scored again.

The functions import torch inside, so that the table can be read without it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from bench.errors import UnknownNameError
from bench.protocol.columns import Column
from bench.protocol.spec import RULES

if TYPE_CHECKING:
    from torch import Tensor

SSIM_WINDOW_CELLS = 11
SSIM_SIGMA_CELLS = 1.5
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2
EDGE_THRESHOLD_MPS = 100.0
"""Velocity change per cell (Sobel) from which a cell is an interface."""
EDGE_TOLERANCE_CELLS = 1

_MPS_PER_UNIT = (RULES.velocity_scale_mps[1] - RULES.velocity_scale_mps[0]) / 2


@dataclass(frozen=True, kw_only=True)
class Metric(Column):
    """A metric. Raise `version` when its values change: fits are then scored again."""

    per_sample: "Callable[[Tensor, Tensor], Tensor]"
    """(prediction, truth) of shape (n, 1, 70, 70) → (n,) float32; NaN where undefined."""
    aggregate: Literal["mean", "root_mean"] = "mean"
    """Over samples, those where it is undefined left out: the mean, or the root of the mean."""
    sample_column: str = ""
    """Name of the per-sample values where they are not the metric's own; see `column`."""
    digits: int = 4
    """Decimals that are shown."""
    version: int = 1

    @property
    def column(self) -> str:
        """Name of the per-sample values in score files."""
        return self.sample_column or self.name

    def aggregated(self, values: NDArray[np.float32]) -> float | None:
        """The score over (n,) per-sample values; None where it is undefined for all of them."""
        exact = values.astype(np.float64)
        if not np.isfinite(exact).any():
            return None
        mean = np.nanmean(exact) if np.isnan(exact).any() else np.mean(exact)
        return float(np.sqrt(mean) if self.aggregate == "root_mean" else mean)


def mean_absolute_error(prediction: "Tensor", truth: "Tensor") -> "Tensor":
    """Mean of |prediction − truth| over the map."""
    return (prediction - truth).abs().mean(dim=(1, 2, 3))


def mean_squared_error(prediction: "Tensor", truth: "Tensor") -> "Tensor":
    """Mean of (prediction − truth)² over the map; RMSE is the root of its mean over samples."""
    return (prediction - truth).square().mean(dim=(1, 2, 3))


def structural_similarity(prediction: "Tensor", truth: "Tensor") -> "Tensor":
    """SSIM as OpenFWI computes it (Wang et al. 2004), in [-1, 1]; 1 for equal maps.

    Maps are rescaled to [0, 1]; Gaussian window of 11 cells with σ = 1.5, zero padding,
    C1 = 0.01², C2 = 0.03², mean over the full map.
    """
    import torch
    import torch.nn.functional as F

    size = SSIM_WINDOW_CELLS
    offset = torch.arange(size, device=truth.device, dtype=torch.float32) - size // 2
    window = torch.exp(-offset.square() / (2 * SSIM_SIGMA_CELLS**2))
    window = window / window.sum()

    def blur(x: "Tensor") -> "Tensor":
        x = F.conv2d(x, window.view(1, 1, -1, 1), padding=(size // 2, 0))
        return F.conv2d(x, window.view(1, 1, 1, -1), padding=(0, size // 2))

    x, y = (prediction.float() + 1) / 2, (truth.float() + 1) / 2
    # Variances are small differences of large numbers, for which TF32 has too few digits
    cudnn = torch.backends.cudnn
    with cudnn.flags(
        enabled=cudnn.enabled,
        benchmark=cudnn.benchmark,
        deterministic=cudnn.deterministic,
        allow_tf32=False,
    ):
        mean_x, mean_y = blur(x), blur(y)
        var_x = blur(x * x) - mean_x**2
        var_y = blur(y * y) - mean_y**2
        cov = blur(x * y) - mean_x * mean_y
    c1, c2 = SSIM_C1, SSIM_C2
    similarity = ((2 * mean_x * mean_y + c1) * (2 * cov + c2)) / (
        (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    )
    return similarity.mean(dim=(1, 2, 3))


def sobel_magnitude(maps: "Tensor") -> "Tensor":
    """Gradient magnitude (n, 1, 70, 70) per cell: Sobel with weights (1, 2, 1)/8, edges mirrored.

    A ramp of one unit a cell has magnitude 1 (scikit-image's `sobel_h`/`sobel_v` give the same
    numbers but for their factor 2).
    """
    import torch
    import torch.nn.functional as F

    smooth = torch.tensor([1.0, 2.0, 1.0], device=maps.device) / 4
    slope = torch.tensor([-1.0, 0.0, 1.0], device=maps.device) / 2
    padded = F.pad(maps.float(), (1, 1, 1, 1), mode="replicate")
    dz = F.conv2d(F.conv2d(padded, slope.view(1, 1, 3, 1)), smooth.view(1, 1, 1, 3))
    dx = F.conv2d(F.conv2d(padded, slope.view(1, 1, 1, 3)), smooth.view(1, 1, 3, 1))
    return torch.hypot(dz, dx)


def edge_f1(prediction: "Tensor", truth: "Tensor") -> "Tensor":
    """F1 score of interface cells, in [0, 1]: how well interfaces are placed.

    A cell is an interface where the velocity changes by 100 m/s a cell or more (Sobel). It counts
    as placed if the other map has an interface within one cell (a boundary F-measure, after
    Martin et al. 2004). NaN where neither map has an interface.
    """
    import torch
    import torch.nn.functional as F

    threshold = EDGE_THRESHOLD_MPS / _MPS_PER_UNIT
    reach = 2 * EDGE_TOLERANCE_CELLS + 1
    found = (sobel_magnitude(prediction) >= threshold).float()
    true = (sobel_magnitude(truth) >= threshold).float()

    def near(edges: "Tensor") -> "Tensor":
        return F.max_pool2d(edges, reach, stride=1, padding=reach // 2)

    def total(edges: "Tensor") -> "Tensor":
        return edges.sum(dim=(1, 2, 3))

    hit_found, hit_true = total(found * near(true)), total(true * near(found))
    precision = hit_found / total(found).clamp(min=1)
    recall = hit_true / total(true).clamp(min=1)
    f1 = 2 * precision * recall / (precision + recall).clamp(min=1e-12)
    return torch.where(total(found) + total(true) > 0, f1, torch.nan)


METRICS: tuple[Metric, ...] = (
    Metric(
        name="mae",
        label="MAE",
        unit="[−1, 1]",
        better="lower",
        description="Mean absolute error of the velocity, scaled so that 1500–4500 m/s is [-1, 1].",
        per_sample=mean_absolute_error,
    ),
    Metric(
        name="rmse",
        label="RMSE",
        unit="[−1, 1]",
        better="lower",
        description="Root of the mean squared error over all pixels of all samples, on [-1, 1].",
        per_sample=mean_squared_error,
        aggregate="root_mean",
        sample_column="mse",
    ),
    Metric(
        name="ssim",
        label="SSIM",
        unit="",
        better="higher",
        description="Structural similarity of the maps rescaled to [0, 1], Gaussian window 11.",
        per_sample=structural_similarity,
    ),
    Metric(
        name="edge",
        label="Edge F1",
        unit="",
        better="higher",
        description="F1 score of interfaces placed within one cell of the true ones.",
        per_sample=edge_f1,
        digits=3,
    ),
)
"""All scores, in the order of tables; the first one ranks methods."""


def get(name: str) -> Metric:
    """Look a metric up by name. Raises `UnknownNameError`."""
    for metric in METRICS:
        if metric.name == name:
            return metric
    raise UnknownNameError("metric", name, [metric.name for metric in METRICS])
