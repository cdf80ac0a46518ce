"""Model → per-sample scores and predicted maps."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.data.loader import SampleLoader
from bench.seismic import metrics
from bench.seismic.scaling import unscale_maps
from bench.training.numerics import Numerics

_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Scores of each sample, and the first samples' maps in whole m/s for the page's gallery."""

    scores: dict[str, NDArray[np.float32]]
    """(n,) each, by `Metric.column`; NaN where undefined."""
    truth: NDArray[np.uint16]
    """(gallery, 70, 70) m/s."""
    prediction: NDArray[np.uint16]
    """(gallery, 70, 70) m/s."""

    @property
    def samples(self) -> int:
        return len(next(iter(self.scores.values())))


def score(model: nn.Module, pool: SampleLoader, *, gallery: int, numerics: Numerics) -> Scored:
    """Score every sample in evaluation mode and float32, without batch statistics.

    Frugal numerics compute BatchNorm as part of the convolution before it, which is faster and
    rounds differently, to about 1e-7.
    """
    model.eval()
    collected: dict[str, list[Tensor]] = {m.column: [] for m in metrics.METRICS}
    kept: list[tuple[Tensor, Tensor]] = []
    order = [np.arange(s, min(s + _BATCH, len(pool))) for s in range(0, len(pool), _BATCH)]
    with numerics.frugal_pass(model, fold=True), torch.inference_mode():
        for indices, (x, y) in zip(order, pool.batches(order), strict=True):
            prediction, scores = score_batch(model, x, y)
            for name, values in scores.items():
                collected[name].append(values)
            if indices[0] < gallery:
                keep = gallery - int(indices[0])
                kept.append((y[:keep, 0].cpu(), prediction[:keep, 0].cpu()))
    return Scored(
        scores={name: torch.cat(values).cpu().numpy() for name, values in collected.items()},
        truth=_whole_mps([t for t, _ in kept]),
        prediction=_whole_mps([p for _, p in kept]),
    )


def score_batch(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Predicted maps (b, 1, 70, 70) of one batch, and its scores (b,) by name."""
    prediction = model(x.float()).float()
    return prediction, {m.column: m.per_sample(prediction, y) for m in metrics.METRICS}


def _whole_mps(maps: list[Tensor]) -> NDArray[np.uint16]:
    if not maps:
        return np.empty((0, 70, 70), dtype=np.uint16)
    velocity = unscale_maps(torch.cat(maps)).clamp(0, 65535).round()
    return velocity.numpy().astype(np.uint16)
