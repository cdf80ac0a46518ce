"""Memory of a training step by part, from counted figures: the same on every machine."""

from dataclasses import dataclass

import polars as pl

from bench.protocol.spec import TARGETS
from leaderboard.tables.boards import Board

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
    """Kept by the forward pass for the backward pass, in the board's numerics."""
    measured: float | None
    """Median of the peaks of the GPU's allocator on the board's machine, at the track's batch size.

    None on a CPU, where a process's resident memory says little of a fit's."""

    def total(self, batch: int) -> float:
        """Bytes at a batch size, working space of the kernels not counted."""
        return self.weights + self.gradients + self.optimiser + batch * self.saved_per_sample


def table(board: Board) -> dict[str, Memory]:
    """Medians over the fits of each method on all of a target, by variant key.

    Methods whose memory was not counted in the board's numerics are left out.
    """
    whole = board.tested.filter(
        pl.col("kind") == "adaptation", pl.col("train").is_in(TARGETS), pl.col("percent") == 100
    )
    whole = whole.filter(pl.col("numerics").eq_missing(board.numerics))
    counted = pl.all_horizontal(pl.col(_COUNTS).is_not_null())
    medians = (
        whole.group_by("variant", maintain_order=True)
        .agg(
            pl.col(_COUNTS).filter(counted).median(),
            pl.col("peak_bytes")
            .filter(pl.col("on_gpu"), pl.col("machine").eq_missing(board.machine))
            .median(),
        )
        .drop_nulls(_COUNTS)
    )
    return {
        key: Memory(
            weights=SINGLE * total,
            gradients=SINGLE * trainable,
            optimiser=optimiser,
            saved_per_sample=saved,
            measured=measured,
        )
        for key, total, trainable, optimiser, saved, measured in medians.iter_rows()
    }
