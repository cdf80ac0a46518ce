"""Model → per-sample scores and predicted maps."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bench import metrics
from bench.data.pools import Pool
from bench.data.scaling import unscale_maps
from bench.frugal import frugal

_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Scores of each sample, and the first samples' maps in whole m/s for the page's gallery."""

    scores: dict[str, NDArray[np.float32]]
    """(n,) each, by the names of `metrics.SCORES`."""
    truth: NDArray[np.uint16]
    """(gallery, 70, 70) m/s."""
    prediction: NDArray[np.uint16]
    """(gallery, 70, 70) m/s."""


def score(model: nn.Module, pool: Pool, *, gallery: int, fold: bool = True) -> Scored:
    """Score every sample in evaluation mode and float32, without batch statistics.

    `fold` computes BatchNorm as part of the convolution before it, which rounds differently (to
    about 1e-7) and is faster.
    """
    model.eval()
    collected: dict[str, list[torch.Tensor]] = {name: [] for name in metrics.SCORES}
    kept: list[tuple[torch.Tensor, torch.Tensor]] = []
    order = [np.arange(s, min(s + _BATCH, len(pool))) for s in range(0, len(pool), _BATCH)]
    with frugal(model, fold=fold), torch.inference_mode():
        for indices, (x, y) in zip(order, pool.batches(order), strict=True):
            prediction = model(x.float()).float()
            for name, function in metrics.SCORES.items():
                collected[name].append(function(prediction, y))
            if indices[0] < gallery:
                keep = gallery - int(indices[0])
                kept.append((y[:keep, 0].cpu(), prediction[:keep, 0].cpu()))
    return Scored(
        scores={name: torch.cat(values).cpu().numpy() for name, values in collected.items()},
        truth=_whole_mps([t for t, _ in kept]),
        prediction=_whole_mps([p for _, p in kept]),
    )


def _whole_mps(maps: list[torch.Tensor]) -> NDArray[np.uint16]:
    if not maps:
        return np.empty((0, 70, 70), dtype=np.uint16)
    velocity = unscale_maps(torch.cat(maps)).clamp(0, 65535).round()
    return velocity.numpy().astype(np.uint16)
