"""The record of one fit: facts only, one strict JSON file, written whole or not at all.

Whatever can be derived (means over seeds, gains, ranks) is derived by the leaderboard. Unknown is
None, never a sentinel.
"""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from bench.atomic import write_atomically
from bench.protocol.fingerprint import Simulation
from bench.protocol.spec import FitSpec, Frozen, Natural, Rules, TestSet, Track

SCHEMA_VERSION = 2
FILE = "record.json"
SCORES_FILE = "scores.parquet"
LARGEST_SCORES_BYTES = 64_000_000
MAPS_FILE = "maps.npz"
MISFIT_FILE = "misfit.parquet"
DELTA_FILE = "delta.safetensors"
FOUNDATION_FILE = "foundation.safetensors"

RunId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Status = Literal["done", "failed", "out_of_memory", "interrupted"]
Precision = Literal["float32", "bfloat16"]
"""Of training; scores are computed in float32."""
Level = Literal["self_reported", "rescored", "replayed", "fresh_seeds"]
"""How far the result has been checked."""


class Epoch(Frozen):
    """One epoch of the learning curve. `loss` is the mean training loss on [-1, 1]."""

    epoch: Natural
    loss: float
    learning_rate: float
    """At the last step of the epoch, before any scale of the method."""
    seconds: float
    test_mae: float | None = None
    """MAE on the fit's own test set after this epoch, with BatchNorm's running statistics.

    Only with `bench run --test-curve`, and a curiosity: it tells what keeping the epoch that is
    best on the test files, as OpenFWI's scripts do, would have flattered the result by.
    """


class Phase(Frozen):
    """Cost of training or scoring."""

    seconds: float
    warmup_seconds: float | None = None
    samples: Natural
    samples_per_second: float | None = None
    """Without the warm-up."""
    baseline_bytes: Natural | None = None
    """Memory in use before the phase: on the device for a GPU, resident for a CPU."""
    peak_allocated_bytes: Natural | None = None
    peak_reserved_bytes: Natural | None = None
    peak_resident_bytes: Natural | None = None
    driver_peak_bytes: Natural | None = None
    joules: float | None = None
    """Energy that the GPU's own counter states; None where there is none."""
    prefix_bytes: Natural | None = None
    """Of the activations below the first trained layer that were computed once and kept, where
    training steps began there; part of the peak. None where every step began at the records."""


class Counts(Frozen):
    """Hardware-independent costs."""

    trainable_parameters: Natural
    total_parameters: Natural
    optimiser_bytes: Natural
    saved_bytes_per_sample: float | None = None
    flops_per_sample: float | None = None
    changed_buffers: Natural
    adapter_bytes: Natural
    adapter_sha256: str


class MethodCard(Frozen):
    """A method's description of itself when it ran."""

    category: str
    summary: str
    source: str
    start: str


class Release(Frozen):
    """The installed release of a plugin: provenance, no part of a fit's identity."""

    distribution_version: str | None
    code: str | None
    """Hash of the plugin's code, blind to comments, docstrings and layout."""


class Machine(Frozen):
    """Hardware and operating system of a run."""

    processor: str
    cores: Natural
    memory_bytes: Natural
    gpu: str | None
    driver: str | None
    system: str


class Determinism(Frozen):
    """The numerical settings of a run."""

    device: str
    precision: Precision
    channels_last: bool
    frugal: bool
    threads: Natural
    deterministic_algorithms: bool


class Execution(Frozen):
    """Place, time and command of one stage."""

    machine: Machine
    versions: dict[str, str]
    """Of Python and the packages that compute."""
    commit: str | None
    dirty: bool | None
    command: tuple[str, ...]
    determinism: Determinism
    started: datetime
    ended: datetime


class Cell(Frozen):
    """Scores of one fit on one test set, over all its samples."""

    test_set: TestSet
    samples: Natural
    scores: dict[str, float | None]
    """By metric; None where undefined for every sample."""
    versions: dict[str, Natural]
    """Versions of the metrics that gave these scores."""


class Evaluation(Frozen):
    """One scoring of the trained weights; there may be several, on other machines and later."""

    cells: tuple[Cell, ...]
    data_sha256: dict[str, str]
    """Of each dataset that was scored on, by name."""
    cost: Phase | None
    execution: Execution


class Record(Frozen):
    """Everything about one fit and its cells."""

    schema_version: Literal[2] = 2
    run_id: RunId
    former_id: RunId | None = None
    """The run id, and folder name, under schema 1."""
    status: Status
    """Of the training; ``done``: its weights are final. ``failed`` also where scoring failed."""
    error: str | None = None
    spec: FitSpec
    track: Track
    rules: Rules
    simulation: Simulation | None
    """How the data were generated; None for real files."""
    method_release: Release
    method_card: MethodCard
    backbone_release: Release
    foundation_sha256: str | None
    """Of the weights the fit started from; None for a start from scratch."""
    data_sha256: dict[str, str]
    """Of each dataset that was trained on, by name."""
    curve: tuple[Epoch, ...]
    cost: Phase | None
    """Of the training."""
    counts: Counts | None
    facts: dict[str, Any]
    """What the method itself reports, such as a coefficient it chose."""
    execution: Execution
    """Of the training."""
    resumed: Natural = 0
    level: Level = "self_reported"
    evaluations: tuple[Evaluation, ...] = ()

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All scored cells, each test set once."""
        return tuple(cell for evaluation in self.evaluations for cell in evaluation.cells)

    def cell(self, test_set: TestSet) -> Cell | None:
        """The cell of a test set; None where it has not been scored."""
        return next((cell for cell in self.cells if cell.test_set == test_set), None)

    @property
    def is_trained(self) -> bool:
        """Whether its training was done; scoring may have failed since."""
        return self.status == "done" or self.counts is not None

    def with_evaluation(self, evaluation: Evaluation) -> "Record":
        """This record with new cells, which replace older ones of the same test sets."""
        new = {cell.test_set for cell in evaluation.cells}
        kept = []
        for old in self.evaluations:
            cells = tuple(cell for cell in old.cells if cell.test_set not in new)
            names = {cell.test_set.dataset for cell in cells}
            data = {name: sha for name, sha in old.data_sha256.items() if name in names}
            if cells:
                kept.append(old.model_copy(update={"cells": cells, "data_sha256": data}))
        return self.model_copy(update={"evaluations": (*kept, evaluation)})


def write(record: Record, folder: Path) -> Path:
    """Write `record.json` into a run's folder, atomically."""
    path = folder / FILE
    write_atomically(path, (record.model_dump_json(indent=1) + "\n").encode())
    return path
