"""Per-sample scores of predicted velocity maps, as pure functions of scaled maps.

All take a prediction and the truth of shape (n, 1, 70, 70), on [-1, 1], and return (n,) float32.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.protocol.spec import RULES

_MPS_PER_UNIT = (RULES.velocity_scale_mps[1] - RULES.velocity_scale_mps[0]) / 2


def mean_absolute_error(prediction: Tensor, truth: Tensor) -> Tensor:
    """Mean of |prediction − truth| over the map."""
    return (prediction - truth).abs().mean(dim=(1, 2, 3))


def mean_squared_error(prediction: Tensor, truth: Tensor) -> Tensor:
    """Mean of (prediction − truth)² over the map; RMSE is the root of its mean over samples."""
    return (prediction - truth).square().mean(dim=(1, 2, 3))


def structural_similarity(prediction: Tensor, truth: Tensor) -> Tensor:
    """SSIM as OpenFWI computes it (Wang et al. 2004), in [-1, 1]; 1 for equal maps.

    Maps are rescaled to [0, 1]; Gaussian window of 11 cells with σ = 1.5, zero padding,
    C1 = 0.01², C2 = 0.03², mean over the full map.
    """
    size = RULES.ssim_window
    place = torch.arange(size, device=truth.device, dtype=torch.float32) - size // 2
    window = torch.exp(-place.square() / (2 * RULES.ssim_sigma**2))
    window = window / window.sum()

    def blur(x: Tensor) -> Tensor:
        x = F.conv2d(x, window.view(1, 1, -1, 1), padding=(size // 2, 0))
        return F.conv2d(x, window.view(1, 1, 1, -1), padding=(0, size // 2))

    x, y = (prediction.float() + 1) / 2, (truth.float() + 1) / 2
    mean_x, mean_y = blur(x), blur(y)
    var_x = blur(x * x) - mean_x**2
    var_y = blur(y * y) - mean_y**2
    cov = blur(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    similarity = ((2 * mean_x * mean_y + c1) * (2 * cov + c2)) / (
        (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    )
    return similarity.mean(dim=(1, 2, 3))


def sobel_magnitude(maps: Tensor) -> Tensor:
    """Gradient magnitude (n, 1, 70, 70) per cell: Sobel with weights (1, 2, 1)/8, edges mirrored.

    A ramp of one unit a cell has magnitude 1 (scikit-image's `sobel_h`/`sobel_v` give the same
    numbers but for their factor 2).
    """
    smooth = torch.tensor([1.0, 2.0, 1.0], device=maps.device) / 4
    slope = torch.tensor([-1.0, 0.0, 1.0], device=maps.device) / 2
    padded = F.pad(maps.float(), (1, 1, 1, 1), mode="replicate")
    dz = F.conv2d(F.conv2d(padded, slope.view(1, 1, 3, 1)), smooth.view(1, 1, 1, 3))
    dx = F.conv2d(F.conv2d(padded, slope.view(1, 1, 1, 3)), smooth.view(1, 1, 3, 1))
    return torch.hypot(dz, dx)


def edge_f1(prediction: Tensor, truth: Tensor) -> Tensor:
    """How well interfaces are placed: F1 score of interface cells, in [0, 1], NaN without any.

    A cell is an interface where the velocity changes by 100 m/s a cell or more (Sobel). It counts
    as placed if the other map has an interface within one cell (a boundary F-measure, after
    Martin et al. 2004). NaN where neither map has an interface.
    """
    threshold = RULES.edge_threshold_mps / _MPS_PER_UNIT
    reach = 2 * RULES.edge_tolerance_cells + 1
    found = (sobel_magnitude(prediction) >= threshold).float()
    true = (sobel_magnitude(truth) >= threshold).float()

    def near(edges: Tensor) -> Tensor:
        return F.max_pool2d(edges, reach, stride=1, padding=reach // 2)

    def total(edges: Tensor) -> Tensor:
        return edges.sum(dim=(1, 2, 3))

    hit_found, hit_true = total(found * near(true)), total(true * near(found))
    precision = hit_found / total(found).clamp(min=1)
    recall = hit_true / total(true).clamp(min=1)
    f1 = 2 * precision * recall / (precision + recall).clamp(min=1e-12)
    return torch.where(total(found) + total(true) > 0, f1, torch.nan)


SCORES = {
    "mae": mean_absolute_error,
    "mse": mean_squared_error,
    "ssim": structural_similarity,
    "edge": edge_f1,
}
"""Every per-sample score by its name in the Parquet file."""
