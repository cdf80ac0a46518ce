"""Records of trainings, written when they end, however they end.

This is the run boundary: whatever a plugin does wrong in a training ends here, as the status and
the error of its record.
"""

import shutil
import traceback
from datetime import datetime
from pathlib import Path

from bench.errors import BenchError, ConfigError, MethodError, describe
from bench.leases import LeaseLostError
from bench.protocol.spec import RULES
from bench.records.record import (
    MAPS_FILE,
    MISFIT_FILE,
    SCORES_FILE,
    Record,
    Status,
    write,
)
from bench.runner import provenance, resume
from bench.runner.floor import FloorTraining
from bench.runner.training import FitTraining
from bench.training import allocator

Training = FitTraining | FloorTraining


def write_outcome(
    training: Training, started: datetime, status: Status, error: str | None = None
) -> Record:
    """Write and return the record of a training that has ended.

    On disk, the record of a training that succeeded is replaced only by that of another success,
    and what was scored with the weights of before is gone then.
    """
    context, folder = training.context, training.context.workspace.run(training.spec)
    record = _record(training, started, status, error)
    before = context.workspace.record(training.spec)
    if status == "done":
        for name in (SCORES_FILE, MAPS_FILE, MISFIT_FILE):
            (folder / name).unlink(missing_ok=True)
    if status == "done" or before is None or not before.is_trained:
        write(record, folder)
    elif status != "interrupted":
        write(before, folder)  # it is newer now: other processes see that it has been tried
    if status in ("done", "failed"):
        shutil.rmtree(folder / resume.FOLDER, ignore_errors=True)
    return record


def write_failure(training: Training, started: datetime, problem: BaseException) -> Record:
    """Write and return the record of a training that has raised.

    Raises the problem again if it is an interruption (which is recorded), the user's to mend, or
    if another process has taken the fit over.
    """
    lease = training.context.lease
    if isinstance(problem, LeaseLostError) or (lease is not None and lease.lost):
        raise problem
    if not isinstance(problem, KeyboardInterrupt):
        return write_outcome(training, started, *failure(problem))
    record = write_outcome(training, started, "interrupted")
    kept = training.progress_kept
    training.context.progress.say(f"{record.spec.title}: interrupted; {kept}")
    raise problem


def failure(problem: BaseException) -> tuple[Status, str]:
    """Status and error of a fit that has raised; the problem is raised again if it is the user's
    to mend."""
    if allocator.is_exhausted(problem):
        return "out_of_memory", describe(problem)
    if isinstance(problem, MethodError | ConfigError):
        return "failed", describe(problem)
    if isinstance(problem, BenchError):
        raise problem
    last = traceback.extract_tb(problem.__traceback__)[-1]
    where = f"{Path(last.filename).name}:{last.lineno}"
    return "failed", f"{describe(problem)} ({where})"


def _record(training: Training, started: datetime, status: Status, error: str | None) -> Record:
    context, spec = training.context, training.spec
    return Record(
        run_id=spec.run_id,
        status=status,
        error=error,
        spec=spec,
        track=context.track,
        rules=RULES,
        simulation=provenance.simulation(context.track),
        method_release=training.release,
        method_card=training.card,
        backbone_release=provenance.backbone_release(spec.backbone),
        foundation_sha256=training.foundation_sha256,
        data_sha256=context.data_sha256(spec.datasets),
        curve=tuple(training.curve),
        cost=training.cost,
        counts=training.counts,
        facts=training.facts,
        execution=provenance.execution(context, started),
        resumed=training.resumed,
    )
