"""Model → per-sample scores and predicted maps."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.data.loader import SampleLoader
from bench.records.gathers import SHAPE
from bench.records.maps import Kept
from bench.seismic import metrics
from bench.seismic.gather import gather
from bench.seismic.scaling import unscale_maps, unscale_records
from bench.training.boundary import Forward
from bench.training.numerics import Numerics

_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Scores of each sample, and some samples' maps in whole m/s for the page's pictures."""

    scores: dict[str, NDArray[np.float32]]
    """(n,) each, by `Metric.column`; NaN where undefined."""
    kept: Kept
    """The first samples, and the one with the largest error of all."""
    gathers: NDArray[np.int8]
    """(kept, 250, 70): what is shown of their records, see `bench.seismic.gather`."""

    @property
    def samples(self) -> int:
        return len(next(iter(self.scores.values())))


def score(
    model: nn.Module,
    loader: SampleLoader,
    *,
    numerics: Numerics,
    kept_maps: int = 0,
    forward: Forward | None = None,
) -> Scored:
    """Score every sample in evaluation mode and float32, without batch statistics.

    On a GPU that has it, products are in TF32 (`Numerics.active`): factors rounded to ten bits.

    Maps are kept of the first `kept_maps` samples and, unless that is 0, of the one with the
    largest MAE.

    Frugal numerics compute BatchNorm as part of the convolution before it, which is faster and
    rounds differently, to about 1e-7.

    `forward` is called in the network's place, where activations of frozen layers are at hand
    (`bench.training.scoring_prefix`).
    """
    predict = model if forward is None else forward
    model.eval()
    collected: dict[str, list[Tensor]] = {m.column: [] for m in metrics.METRICS}
    kept: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
    worst, largest = -1, -np.inf
    order = [np.arange(s, min(s + _BATCH, len(loader))) for s in range(0, len(loader), _BATCH)]
    with numerics.frugal_pass(model, fold=True), torch.inference_mode():
        for indices, (x, y) in zip(order, loader.batches(order), strict=True):
            prediction, scores = score_batch(predict, x, y)
            for name, values in scores.items():
                collected[name].append(values)
            if not kept_maps:
                continue
            errors = scores[metrics.METRICS[0].column]
            place = int(errors.argmax())
            if float(errors[place]) > largest:
                if worst >= kept_maps:
                    del kept[worst]
                worst, largest = int(indices[place]), float(errors[place])
            for i, sample in enumerate(indices.tolist()):
                if sample < kept_maps or sample == worst:
                    kept[sample] = (y[i, 0].cpu(), prediction[i, 0].cpu(), x[i].cpu())
    return Scored(
        scores={name: torch.cat(values).cpu().numpy() for name, values in collected.items()},
        kept=Kept(
            np.array(list(kept), dtype=np.int32),
            _whole_mps([truth for truth, _, _ in kept.values()]),
            _whole_mps([prediction for _, prediction, _ in kept.values()]),
        ),
        gathers=_gathers([record for _, _, record in kept.values()]),
    )


def score_batch(network: Forward, x: Tensor, y: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Predicted maps (b, 1, 70, 70) of one batch, and its scores (b,) by name."""
    prediction = network(x.float()).float()
    return prediction, {m.column: m.per_sample(prediction, y) for m in metrics.METRICS}


def _whole_mps(maps: list[Tensor]) -> NDArray[np.uint16]:
    if not maps:
        return np.empty((0, 70, 70), dtype=np.uint16)
    velocity = unscale_maps(torch.stack(maps)).clamp(0, 65535).round()
    return velocity.numpy().astype(np.uint16)


def _gathers(scaled: list[Tensor]) -> NDArray[np.int8]:
    pictures = [gather(unscale_records(record.float()).numpy()) for record in scaled]
    return np.stack(pictures) if pictures else np.empty((0, *SHAPE), dtype=np.int8)
