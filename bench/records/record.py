"""The record of one fit: facts only, one strict JSON file, written whole or not at all.

Whatever can be derived (means over seeds, gains, ranks) is derived by the leaderboard. Unknown is
None, never a sentinel.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import NonNegativeInt, ValidationError

from bench.atomic import write_atomically
from bench.errors import RecordError
from bench.protocol.spec import FitSpec, Frozen, Part, Rules, Track

SCHEMA_VERSION = 1
FILE = "record.json"
SCORES_FILE = "scores.parquet"
MAPS_FILE = "maps.npz"
DELTA_FILE = "delta.safetensors"
FOUNDATION_FILE = "foundation.safetensors"

Status = Literal["done", "failed", "out_of_memory", "interrupted"]


class Epoch(Frozen):
    """One epoch of the learning curve. `loss` is the mean training loss on [-1, 1]."""

    epoch: NonNegativeInt
    loss: float
    learning_rate: float
    """At the last step of the epoch, before any scale of the method."""
    seconds: float


class Phase(Frozen):
    """Cost of training or scoring."""

    seconds: float
    warmup_seconds: float | None = None
    samples: NonNegativeInt
    samples_per_second: float | None = None
    """Without the warm-up."""
    baseline_bytes: int | None = None
    """Memory in use before the phase: on the device for a GPU, resident for a CPU."""
    peak_allocated_bytes: int | None = None
    peak_reserved_bytes: int | None = None
    peak_resident_bytes: int | None = None
    driver_peak_bytes: int | None = None
    joules: float | None = None


class Counts(Frozen):
    """Hardware-independent costs."""

    trainable_parameters: NonNegativeInt
    total_parameters: NonNegativeInt
    optimiser_bytes: NonNegativeInt
    saved_bytes_per_sample: float | None = None
    flops_per_sample: float | None = None
    changed_buffers: NonNegativeInt
    adapter_bytes: NonNegativeInt
    adapter_sha256: str


class Cell(Frozen):
    """Scores of one fit on one dataset, over all its samples."""

    dataset: str
    part: Part
    samples: NonNegativeInt
    mae: float
    rmse: float
    ssim: float
    edge: float | None


class MethodCard(Frozen):
    """What a method's plugin said of itself when it ran."""

    category: str
    summary: str
    source: str
    start: str


class Machine(Frozen):
    """Where it ran."""

    processor: str
    cores: int
    memory_bytes: int
    gpu: str | None
    driver: str | None
    system: str


class Determinism(Frozen):
    """The numerical settings of the run."""

    device: str
    precision: Literal["float32", "bfloat16"]
    channels_last: bool
    frugal: bool
    threads: int
    deterministic_algorithms: bool


class Record(Frozen):
    """Everything about one fit and its cells."""

    schema_version: Literal[1] = 1
    run_id: str
    status: Status
    error: str | None = None
    spec: FitSpec
    track: Track
    rules: Rules
    method_distribution_version: str | None
    method_card: MethodCard | None
    configs_tried: int = 1
    """Configs tried on a validation part to find this one."""
    foundation_sha256: str | None
    """Of the weights the fit started from; None for a start from scratch."""
    data_sha256: dict[str, str]
    """Of each dataset used, by name."""
    curve: tuple[Epoch, ...]
    train: Phase | None
    score: Phase | None
    counts: Counts | None
    cells: tuple[Cell, ...]
    facts: dict[str, Any]
    """What the method itself reports, such as a coefficient it chose."""
    machine: Machine
    versions: dict[str, str]
    commit: str | None
    dirty: bool | None
    command: tuple[str, ...]
    determinism: Determinism
    started: datetime
    ended: datetime
    resumed: NonNegativeInt = 0
    verification: Literal["self_reported", "re_evaluated", "retrained"] = "self_reported"


def write(record: Record, folder: Path) -> Path:
    """Write `record.json` into a run's folder, atomically."""
    path = folder / FILE
    write_atomically(path, (record.model_dump_json(indent=1) + "\n").encode())
    return path


def read(path: Path) -> Record:
    """Read one record; raises `RecordError` saying what is wrong with which file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecordError(f"Record {path} cannot be read: {error}.") from error
    try:
        return Record.model_validate_json(content)
    except ValidationError as error:
        raise RecordError(_fault(path, content, error)) from error


def _fault(path: Path, content: bytes, error: ValidationError) -> str:
    """What is wrong with a record, the cause before its consequences."""
    try:
        raw = json.loads(content)
    except (ValueError, RecursionError) as unreadable:
        return f"Record {path} cannot be read: {unreadable}."
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        return (
            f"Record {path} has schema version {version}, newer than the {SCHEMA_VERSION} that "
            "this program knows; update fwi-peft-bench."
        )
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"])) or "top level"
    return f"Record {path} is not valid at {where}: {first['msg']}."
