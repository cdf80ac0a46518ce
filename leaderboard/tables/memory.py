"""Memory of a training step by part, from counted figures: the same on every machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import polars as pl

from bench.protocol.spec import TARGETS
from leaderboard.tables.boards import Board
from leaderboard.tables.variants import Variant

SINGLE = 4
"""Bytes of a weight and of its gradient: both stay in single precision."""
_COUNTS = (
    "total_parameters",
    "trainable_parameters",
    "optimiser_bytes",
    "saved_bytes_per_sample",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What a training step holds, in bytes."""

    weights: float
    gradients: float
    optimiser: float
    saved_per_sample: float
    """Kept by the forward pass for the backward pass, at the precision of the recorded fits."""
    measured: float | None
    """Median of the peaks of the GPU's allocator on the board's machine, at the track's batch size.

    None on a CPU, where a process's resident memory says little of a fit's."""

    def total(self, batch: int) -> float:
        """Bytes at a batch size, working space of the kernels not counted."""
        return self.weights + self.gradients + self.optimiser + batch * self.saved_per_sample


def of(board: Board, variant: Variant) -> Memory | None:
    """Medians over the fits of a method on all of a target; None where they were not counted."""
    own = board.tested.filter(
        pl.col("variant") == variant.key,
        pl.col("train").is_in(list(TARGETS)),
        pl.col("percent") == 100,
    )
    counted = own.drop_nulls(list(_COUNTS)).sort("run_id").to_dicts()
    if not counted:
        return None
    total, trainable, optimiser, saved = (_median(counted, name) for name in _COUNTS)
    peaks = own.filter(
        pl.col("on_gpu"), pl.col("machine") == board.machine, pl.col("peak_bytes").is_not_null()
    )
    return Memory(
        weights=SINGLE * total,
        gradients=SINGLE * trainable,
        optimiser=optimiser,
        saved_per_sample=saved,
        measured=median(peaks["peak_bytes"].to_list()) if peaks.height else None,
    )


def _median(rows: Sequence[dict[str, Any]], name: str) -> float:
    return float(median(row[name] for row in rows))
