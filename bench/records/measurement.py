"""Measurements of speed: what `bench speed --save` writes and the leaderboard shows.

Facts only: the seconds of every turn, and counts of a step. All turns of a file are from one run of
the command, in which the methods and the reference loop took turns, so that their ratio compares.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from bench.atomic import write_atomically
from bench.errors import RecordError
from bench.files import irregular
from bench.protocol.spec import BackboneSpec, Count, Frozen, MethodSpec, Natural, canonical
from bench.records.record import Execution

SCHEMA_VERSION = 1
FOLDER = "speed"
"""Of a home and of the published records: the leaderboard shows the files ``*.json`` in it."""
LEAST_TURNS = 3
"""Fewer give no range."""
LARGEST_BYTES = 1_000_000

Seconds = Annotated[float, Field(gt=0, le=1e6)]


class Loop(Frozen):
    """The timed turns of one training loop, and what a step of it holds in memory."""

    samples: Count
    """Trained on in a turn."""
    seconds: Annotated[tuple[Seconds, ...], Field(min_length=LEAST_TURNS, max_length=10_000)]
    """Of each turn, in their order."""
    saved_bytes_per_sample: Annotated[float, Field(ge=0, le=2**53)]
    """Kept by the forward pass for the backward pass."""
    peak_bytes: Natural
    """Most bytes alive at once of what one step allocates, gradients among it; not the weights."""
    prefix_bytes_per_sample: Natural = 0
    """Of activations below the first trained layer, where steps begin at kept ones; else 0."""


class MethodLoop(Loop):
    """A method's training, as a fit trains it after the first epoch."""

    method: MethodSpec


class Measurement(Frozen):
    """The training loops of several methods and the reference loop on one machine."""

    schema_version: Literal[1] = 1
    backbone: BackboneSpec
    batch: Annotated[int, Field(ge=2, le=1_000_000)]
    reference: Loop
    """A plain loop as in the field's public scripts, `bench.speed.reference`."""
    methods: Annotated[tuple[MethodLoop, ...], Field(min_length=1, max_length=1000)]
    execution: Execution

    @model_validator(mode="after")
    def _took_turns(self) -> Self:
        if any(len(loop.seconds) != len(self.reference.seconds) for loop in self.methods):
            raise ValueError("a method has not had as many turns as the reference loop")
        if len({canonical(loop.method.model_dump()) for loop in self.methods}) < len(self.methods):
            raise ValueError("a method is listed twice")
        return self

    @property
    def started(self) -> datetime:
        return self.execution.started


def write(measurement: Measurement, path: Path) -> None:
    """Write a measurement's file, atomically. Raises `HomeError`."""
    write_atomically(path, (measurement.model_dump_json(indent=1) + "\n").encode())


def read(path: Path) -> Measurement:
    """Read a measurement's file; raises `RecordError` with one sentence on what is wrong with it.

    Links are not followed, and what is not a regular file, or larger than `LARGEST_BYTES`, is not
    read.
    """
    if reason := irregular(path, LARGEST_BYTES):
        raise RecordError(f"{path}: {reason}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecordError(f"{path}: It cannot be read: {error.strerror or error}.") from error
    try:
        return Measurement.model_validate_json(content)
    except ValidationError as error:
        raise RecordError(f"{path}: {_fault(content, error)}") from error


def _fault(content: bytes, error: ValidationError) -> str:
    version = _version(content)
    if version is not None and version > SCHEMA_VERSION:
        return (
            f"The measurement has schema version {version}, newer than the {SCHEMA_VERSION} that "
            "this program knows; update fwi-peft-bench."
        )
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))[:200] or "top level"
    return f"It is not a valid measurement of `bench speed` at {where}: {first['msg']}."


def _version(content: bytes) -> int | None:
    try:
        raw = json.loads(content)
    except (ValueError, RecursionError):
        return None
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    return version if isinstance(version, int) else None
