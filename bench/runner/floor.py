"""The floor: the mean training map of a dataset, predicted for every record.

It is the level that a network has to beat on that dataset, and is recorded like a fit.
"""

import time
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from bench.models.checkpoint import content_hash, save_safetensors
from bench.protocol import survey
from bench.protocol.spec import FitSpec
from bench.records.record import Counts, Epoch, MethodCard, Phase, Release
from bench.runner import provenance
from bench.runner.context import RunContext
from bench.seismic.scaling import scale_maps

_CHUNK = 256
"""Maps that are read at a time."""


class MeanMap(nn.Module):
    """(n, 5, 1000, 70) → (n, 1, 70, 70): one scaled map, whatever the records."""

    mean: Tensor

    def __init__(self, mean: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)

    def forward(self, records: Tensor) -> Tensor:
        return self.mean.expand(len(records), -1, -1, -1)


@dataclass(kw_only=True)
class FloorTraining:
    """Computes one mean map; has the attributes of `bench.runner.training.FitTraining` that go into
    a record."""

    spec: FitSpec
    context: RunContext
    cost: Phase | None = None
    counts: Counts | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    curve: ClassVar[tuple[Epoch, ...]] = ()
    resumed: ClassVar[int] = 0
    foundation_sha256: ClassVar[None] = None
    progress_kept: ClassVar[str] = "nothing to keep"

    def run(self) -> nn.Module:
        """The mean over the whole training split, scaled; its weights are saved."""
        start = time.perf_counter()
        (dataset,) = self.spec.datasets
        samples = self.context.datasets.samples(dataset, "train")
        total = np.zeros(survey.MAP_SHAPE)
        for first in range(0, len(samples), _CHUNK):
            maps = samples.maps(np.arange(first, min(first + _CHUNK, len(samples))))
            total += maps.sum(axis=(0, 1), dtype=np.float64)
        mean = scale_maps(torch.from_numpy(total / len(samples)).float())[None, None]
        path = self.context.workspace.weights(self.spec)
        save_safetensors({"mean": mean}, path, {"dataset": dataset})
        self.cost = Phase(seconds=time.perf_counter() - start, samples=len(samples))
        self.counts = Counts(
            trainable_parameters=0,
            total_parameters=0,
            optimiser_bytes=0,
            changed_buffers=1,
            adapter_bytes=path.stat().st_size,
            adapter_sha256=content_hash({"mean": mean}),
        )
        return MeanMap(mean).to(self.context.numerics.device)

    @property
    def card(self) -> MethodCard:
        return MethodCard(
            category="reference",
            summary="The mean training map of the test dataset, predicted for every record.",
            source="",
            start="scratch",
        )

    @property
    def release(self) -> Release:
        return provenance.own_release()
