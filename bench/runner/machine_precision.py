"""Precision that this machine trains in: measured once, kept in the home folder.

Decided in this order: what the command line asks for; on a GPU what its generation has; what is
kept for this processor and backbone; what fits of the home were trained in on this processor, so
that scores do not change where there are some; a measurement.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch
from pydantic import ValidationError

from bench.atomic import write_atomically
from bench.errors import RecordError
from bench.progress import Progress
from bench.protocol.spec import BackboneSpec, Frozen, digest
from bench.records.reader import read
from bench.records.record import Precision, Record
from bench.runner.context import RunContext
from bench.runner.workspace import Workspace
from bench.training import precision, probe
from bench.training.numerics import AUTO, Numerics
from bench.training.precision import PrecisionTiming


class PrecisionDecision(Frozen):
    """The precision of one kind of processor, and what it was decided by."""

    precision: Precision
    processor: str
    torch: str
    backbone: str
    timing: PrecisionTiming | None
    """None: it is that of fits which the home had."""

    @property
    def reason(self) -> str:
        """The reason in a few words."""
        if self.timing is None:
            return "as the fits of this home on this processor"
        needed = "" if self.timing.bfloat16_wins else f"; {precision.MARGIN:g} times is needed"
        return (
            f"bfloat16 is {self.timing.speedup:.1f} times as fast as float32 on layers of "
            f"{self.backbone}{needed}"
        )


def decide(context: RunContext, *, asked: str) -> str:
    """Give a context the precision to train in; returns the reason for it in a few words.

    `asked`: ``auto``, or the precision of the command line, which the numerics have already. Where
    it has to be measured, other processes of the home wait. All workers of a plan, on whatever
    machines, get what the first of them finds.
    """
    if asked != AUTO:
        return "as asked for"
    context.numerics, reason = fastest(
        context.numerics,
        backbone=context.backbone,
        batch=context.track.fit.batch,
        workspace=context.workspace,
        progress=context.progress,
        plan_id=context.plan_id,
    )
    return reason


def fastest(
    numerics: Numerics,
    *,
    backbone: BackboneSpec,
    batch: int,
    workspace: Workspace,
    progress: Progress,
    plan_id: str = "",
) -> tuple[Numerics, str]:
    """Numerics in the faster precision, and the reason for it in a few words; see `decide`."""
    if numerics.device.type != "cpu":
        has = "which this GPU has" if numerics.bfloat16 else "as this GPU has no bfloat16"
        return numerics, has
    plan = workspace.plan(plan_id) if plan_id else None
    decision = _decision(backbone, batch, workspace, progress, plan)
    return replace(numerics, bfloat16=decision.precision == "bfloat16"), decision.reason


def _decision(
    backbone: BackboneSpec,
    batch: int,
    workspace: Workspace,
    progress: Progress,
    plan: Path | None,
) -> PrecisionDecision:
    processor = probe.machine().processor
    key = digest([processor, torch.__version__, backbone.name, backbone.version])
    places = [*([plan / "precision.json"] if plan else []), workspace.precision / f"{key}.json"]
    if (kept := _read(places[0])) is not None:
        return kept

    def wait() -> None:
        progress.say("Waiting for another process that measures this machine's precision.")

    with workspace.claim("precision", "the precision of training", waiting=wait):
        decision = next((kept for place in places if (kept := _read(place))), None)
        decision = decision or _decided(processor, backbone, batch, workspace, progress)
        for place in places:
            if _read(place) is None:
                write_atomically(place, (decision.model_dump_json(indent=1) + "\n").encode())
    return decision


def _decided(
    processor: str, backbone: BackboneSpec, batch: int, workspace: Workspace, progress: Progress
) -> PrecisionDecision:
    timing = None
    chosen = next(_used(processor, backbone, workspace), None)
    if chosen is None:
        progress.say("Measuring float32 against bfloat16 on this machine …")
        timing = precision.measure(backbone.name, batch=batch)
        chosen = "bfloat16" if timing.bfloat16_wins else "float32"
    return PrecisionDecision(
        precision=chosen,
        processor=processor,
        torch=torch.__version__,
        backbone=backbone.name,
        timing=timing,
    )


def _used(processor: str, backbone: BackboneSpec, workspace: Workspace) -> Iterator[Precision]:
    """Precisions that fits of the backbone were trained in on such a processor, newest first."""
    paths = sorted(workspace.records(), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in paths:
        with suppress(RecordError):
            record = read(path)
            if _is_of(record, processor, backbone):
                yield record.execution.determinism.precision


def _is_of(record: Record, processor: str, backbone: BackboneSpec) -> bool:
    """Whether a fit, finished or not, is of that backbone and was trained on that processor."""
    spec, execution = record.spec, record.execution
    on_processor = (
        execution.machine.processor == processor and execution.determinism.device == "cpu"
    )
    return on_processor and spec.kind != "floor" and spec.backbone.name == backbone.name


def _read(path: Path) -> PrecisionDecision | None:
    """A kept decision; None where there is none that can be read."""
    try:
        return PrecisionDecision.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
