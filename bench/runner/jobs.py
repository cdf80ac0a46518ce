"""Jobs: plain data that say what to train and to score, executed by one function in any process.

A job can be written as JSON and sent elsewhere: the process that executes it builds its own
`RunContext` from the workspace. Executing a job twice is harmless, since what is recorded is not
done again.
"""

import gc
import shutil
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path

from torch import nn

from bench.atomic import remove_leftovers
from bench.errors import BenchError, ConfigError, MethodError, describe
from bench.leases import Lease, LeaseLostError
from bench.progress import Silent
from bench.protocol.spec import CLEAN, RULES, FitSpec, Frozen, TestSet, Track
from bench.records.record import Record, Status, write
from bench.runner import (
    crashes,
    deaths,
    evaluation,
    machine_precision,
    pretraining,
    provenance,
    resume,
)
from bench.runner.context import RunContext
from bench.runner.floor import FloorTraining
from bench.runner.launch import LaunchedPretraining
from bench.runner.pretraining import ShardedPretraining
from bench.runner.training import FitTraining
from bench.runner.workspace import Workspace
from bench.training import allocator, numerics

Training = FitTraining | FloorTraining


class Job(Frozen):
    """A fit to train, unless it is recorded already, and the test sets to score it on."""

    track: Track
    spec: FitSpec
    tests: tuple[TestSet, ...] = ()
    again: bool = False
    """Train it again even if it is recorded."""
    seen: int = 0
    """Time of the last change of the record that the plan saw, in ns; 0 for none."""

    @property
    def key(self) -> str:
        """Name of the job: the run id of its fit."""
        return self.spec.run_id


def settled(job: Job, workspace: Workspace) -> Record | None:
    """The record of a job with which nothing is left to do; else None.

    A failure that was recorded after the job was planned is final, whoever recorded it.
    """
    news = workspace.changed(job.spec) != job.seen
    if not news and (job.again or not workspace.weights(job.spec).exists()):
        return None
    record = workspace.record(job.spec)
    if record is None or record.status == "interrupted":
        return None
    if record.status != "done":
        return record if news else None
    if not workspace.weights(job.spec).exists() or evaluation.missing(record, job.tests):
        return None
    return record


def execute(job: Job, context: RunContext, *, wait: bool = True) -> Record | None:
    """Train and score what of a job is not recorded; returns the fit's record.

    None if another process works on the fit, and `wait` is False or it has taken the fit over from
    this one, which showed no sign of life. A fit that fails (NaN loss,
    memory, an error in a plugin) gets a record that says so. Errors in the user's data or home are
    raised, and so is Ctrl-C, after the interruption has been recorded.
    """
    workspace, progress = context.workspace, context.progress
    if record := settled(job, workspace):
        return record
    title, plan = job.spec.title, context.plan_id

    def waiting() -> None:
        progress.say(f"Waiting for another process that works on {title} …")

    with workspace.claim(job.key, title, plan=plan, waiting=waiting if wait else None) as lease:
        if lease is None:
            return None
        context.lease = lease
        try:
            return settled(job, workspace) or _claimed(job, context, lease)
        except BenchError:
            if not lease.lost:
                raise
            progress.say(f"{title}: another process has taken it over")
            return None
        finally:
            context.lease = None


def _claimed(job: Job, context: RunContext, lease: Lease) -> Record:
    """The work of `execute`, for the process that holds the claim."""
    folder = context.workspace.run(job.spec)
    remove_leftovers(folder)
    if crash := crashes.take(folder):
        context.distrust(job.spec, f"{crash[:-1]}, in its fit on {job.spec.title}.")
        return _tell(_crashed(job, context, crash), context)
    if death := deaths.repeated(folder, lease, resume.progress(folder)):
        return _tell(_crashed(job, context, death), context)
    with crashes.noted(folder):
        record = _execute(job, context)
    deaths.forget(folder)
    return record


def _execute(job: Job, context: RunContext) -> Record:
    """Train and score what is missing."""
    workspace, progress = context.workspace, context.progress
    try:
        record = None if job.again else workspace.trained(job.spec)
        model: nn.Module | None = None
        if record is None:
            training, started = _training(job, context), datetime.now(UTC)
            with pretraining.settings(job.spec, context):
                try:
                    model = training.run()
                except BaseException as problem:
                    return _tell(_unfinished(training, started, problem), context)
                record = _recorded(training, started, "done")
        elif record.status != "done":  # a failure in scoring, which is tried again
            record = record.model_copy(update={"status": "done", "error": None})
            write(record, workspace.run(job.spec))
        missing = evaluation.missing(record, job.tests)
        if not missing:
            progress.say(f"{job.spec.title}: done")
            return record
        return _score(record, missing, context, model)
    finally:
        gc.collect()  # networks refer to themselves; the next fit needs the memory


def run_job(job: Job, folder: Path, *, device: str = "auto", data: Path | None = None) -> Record:
    """Execute a job in a process of its own, from the workspace in `folder` alone.

    `data` is the folder of real files, for a track that reads them. Raises what `execute` raises.
    """
    settings = numerics.choose(device)
    context = RunContext(
        workspace=Workspace(folder),
        track=job.track,
        backbone=job.spec.backbone,
        numerics=settings,
        progress=Silent(),
        command=tuple(sys.argv),
        data_folder=data,
    )
    with settings.active():
        machine_precision.settle(context, asked=numerics.AUTO)
        record = execute(job, context)
    assert record is not None, "it waits for other processes"
    return record


def _training(job: Job, context: RunContext) -> Training:
    if job.spec.kind == "floor":
        return FloorTraining(spec=job.spec, context=context)
    if pretraining.is_sharded(job.spec, context.track):
        together = context.pretrain_devices > 1
        return (LaunchedPretraining if together else ShardedPretraining)(job.spec, context)
    return FitTraining(job.spec, context)


def _unfinished(training: Training, started: datetime, problem: BaseException) -> Record:
    """The record of a training that has failed; an interruption is recorded and raised again."""
    lease = training.context.lease
    if isinstance(problem, LeaseLostError) or (lease is not None and lease.lost):
        raise problem
    if not isinstance(problem, KeyboardInterrupt):
        return _recorded(training, started, *_failure(problem))
    record = _recorded(training, started, "interrupted")
    kept = training.progress_kept
    training.context.progress.say(f"{record.spec.title}: interrupted; {kept}")
    raise problem


def _crashed(job: Job, context: RunContext, crash: str) -> Record:
    """The record of a fit in which another process has crashed, in training or in scoring."""
    trained = context.workspace.trained(job.spec)
    if trained is None or job.again:
        return _recorded(_training(job, context), datetime.now(UTC), "failed", crash)
    failed = trained.model_copy(update={"status": "failed", "error": crash})
    write(failed, context.workspace.run(job.spec))
    return failed


def _recorded(
    training: Training, started: datetime, status: Status, error: str | None = None
) -> Record:
    """Write and return the record of a training; that of one which is done is not replaced by one
    of another which is not."""
    context, folder = training.context, training.context.workspace.run(training.spec)
    record = _record(training, status, error, started)
    before = context.workspace.record(training.spec)
    if status == "done" or before is None or not before.is_trained:
        write(record, folder)
    if status in ("done", "failed"):
        shutil.rmtree(folder / resume.FOLDER, ignore_errors=True)
    return record


def _score(
    record: Record, tests: tuple[TestSet, ...], context: RunContext, model: nn.Module | None
) -> Record:
    """Score a fit, its network loaded from its weights where it is not at hand."""
    try:
        network = model if model is not None else evaluation.load(record, context)
        scored = evaluation.score(record, tests, context, network)
    except LeaseLostError:
        raise
    except Exception as problem:
        context.check_claim()
        status, error = _failure(problem)
        known = context.workspace.record(record.spec) or record
        scored = known.model_copy(update={"status": status, "error": error})
        write(scored, context.workspace.run(record.spec))
    return _tell(scored, context)


def _failure(problem: BaseException) -> tuple[Status, str]:
    """How a failure is recorded: the run boundary, where whatever a plugin does wrong ends.

    Raises the problem again if it is the user's to mend.
    """
    if allocator.is_exhausted(problem):
        return "out_of_memory", describe(problem)
    if isinstance(problem, MethodError | ConfigError):
        return "failed", describe(problem)
    if isinstance(problem, BenchError):
        raise problem
    last = traceback.extract_tb(problem.__traceback__)[-1]
    where = f"{Path(last.filename).name}:{last.lineno}"
    return "failed", f"{describe(problem)} ({where})"


def _record(training: Training, status: Status, error: str | None, started: datetime) -> Record:
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


def _tell(record: Record, context: RunContext) -> Record:
    if record.status == "done":
        clean = [c for c in record.cells if c.test_set.condition == CLEAN]
        scores = [f"{c.test_set.name} {_shown(c.scores.get('mae'))}" for c in clean]
        told = f"MAE {', '.join(scores)}"
    else:
        told = f"{record.status}: {record.error}"
    context.progress.say(f"{record.spec.title}: {told}")
    return record


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
