"""The figures of `bench speed` as a measurement that can be kept and published."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypedDict

from bench.errors import ConfigError, RecordError
from bench.models import backbones
from bench.plugins.options import Choice
from bench.records import measurement
from bench.records.measurement import LEAST_TURNS, Loop, Measurement, MethodLoop
from bench.records.record import Execution
from bench.speed.suite import REFERENCE_TRAIN, Figure
from bench.training import probe
from bench.training.numerics import Numerics


def check(path: Path, *, against_reference: bool, rounds: int) -> None:
    """Check before anything is measured that the result can be saved.

    Raises `ConfigError` where the reference loop or turns are lacking, and for a path where
    something else lies.
    """
    if not against_reference:
        raise ConfigError(
            "--save keeps speeds as ratios to the reference loop; add --against reference."
        )
    if rounds < LEAST_TURNS:
        raise ConfigError(f"--save needs a range of turns: --rounds {LEAST_TURNS} or more.")
    if not path.exists():
        return
    try:
        measurement.read(path)
    except RecordError as error:
        raise ConfigError(
            f"{path} is there and is no measurement of this command; choose another name."
        ) from error


def of_figures(
    figures: Sequence[Figure],
    choices: Sequence[Choice],
    *,
    backbone: str,
    batch: int,
    numerics: Numerics,
    command: tuple[str, ...],
    started: datetime,
) -> Measurement:
    """The measurement of a run of the command that timed the reference loop, too."""
    named = {choice.installed.method.name: choice.spec for choice in choices}
    commit, dirty = probe.commit()
    return Measurement(
        backbone=backbones.spec(backbone),
        batch=batch,
        reference=next(Loop(**_facts(f)) for f in figures if f.name == REFERENCE_TRAIN),
        methods=tuple(
            MethodLoop(method=named[figure.method], **_facts(figure))
            for figure in figures
            if figure.method
        ),
        execution=Execution(
            machine=probe.machine(),
            versions=probe.versions(),
            commit=commit,
            dirty=dirty,
            command=command,
            determinism=numerics.describe(),
            started=started,
            ended=datetime.now(UTC),
        ),
    )


class _Facts(TypedDict):
    samples: int
    seconds: tuple[float, ...]
    saved_bytes_per_sample: float
    peak_bytes: int
    prefix_bytes_per_sample: int


def _facts(figure: Figure) -> _Facts:
    if figure.counts is None:
        raise ValueError(f"'{figure.name}' is no training")
    return _Facts(
        samples=round(figure.per_turn),
        seconds=figure.timing.seconds,
        saved_bytes_per_sample=figure.counts.saved_bytes_per_sample,
        peak_bytes=figure.counts.peak_bytes,
        prefix_bytes_per_sample=figure.prefix_bytes,
    )
