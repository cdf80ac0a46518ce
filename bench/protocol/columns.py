"""The cost columns, declared once: name, label, unit, which direction is better.

Scores are declared in `bench.seismic.metrics`.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Column:
    """A reported number. `better` is None where neither direction is."""

    name: str
    label: str
    unit: str
    better: Literal["lower", "higher"] | None
    description: str


COSTS = (
    Column(
        name="trainable_parameters",
        label="Trainable",
        unit="parameters",
        better="lower",
        description="Parameters that the optimiser changes.",
    ),
    Column(
        name="adapter_bytes",
        label="Adapter",
        unit="bytes",
        better="lower",
        description="Size of the saved delta: trainables and changed buffers.",
    ),
    Column(
        name="optimiser_bytes",
        label="Optimiser",
        unit="bytes",
        better="lower",
        description="Optimiser state after training.",
    ),
    Column(
        name="saved_bytes_per_sample",
        label="Saved for backward",
        unit="bytes/sample",
        better="lower",
        description="Distinct storage kept by the forward pass for the backward pass.",
    ),
    Column(
        name="flops_per_sample",
        label="Training FLOPs",
        unit="FLOP/sample",
        better="lower",
        description="Floating-point operations of a training step, forward and backward.",
    ),
    Column(
        name="peak_bytes",
        label="Peak memory",
        unit="bytes",
        better="lower",
        description="Peak above what was in use before: on a GPU of its memory, on a CPU resident.",
    ),
    Column(
        name="samples_per_second",
        label="Training speed",
        unit="samples/s",
        better="higher",
        description="Training samples per second, warm-up excluded.",
    ),
    Column(
        name="train_seconds",
        label="Training time",
        unit="s",
        better="lower",
        description="Wall-clock time of the training phase.",
    ),
)
"""What a fit costs."""
MEASURED = ("peak_bytes", "samples_per_second", "train_seconds")
"""Facts of one run on its machine, whatever else ran there: they rank nothing. Speeds are compared
by `bench speed`, whose loops take turns."""
COUNTED = tuple(column for column in COSTS if column.name not in MEASURED)
"""The same on every machine."""
