"""Jobs: plain data that say what to train and to score, executed by one function in any process.

A job can be written as JSON and sent elsewhere: the process that executes it builds its own
`RunContext` from the workspace. Executing a job twice is harmless, since what is recorded is not
done again.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from torch import nn

from bench.atomic import remove_leftovers
from bench.errors import BenchError
from bench.leases import Lease, LeaseLostError
from bench.progress import Silent
from bench.protocol.spec import CLEAN, FitSpec, Frozen, TestSet, Track
from bench.records.record import Record, write
from bench.runner import (
    crashes,
    evaluation,
    fit_records,
    killed_processes,
    machine_precision,
    pretraining,
    resume,
)
from bench.runner.context import RunContext
from bench.runner.fit_records import Training
from bench.runner.floor import FloorTraining
from bench.runner.launch import LaunchedPretraining
from bench.runner.pretraining import ShardedPretraining
from bench.runner.training import FitTraining
from bench.runner.workspace import Workspace
from bench.training import numerics


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


def execute_job(job: Job, context: RunContext, *, wait: bool = True) -> Record | None:
    """Train and score what of a job is not recorded; returns the fit's record.

    None if another process works on the fit, and `wait` is False or it has taken the fit over from
    this one, which showed no sign of life. A fit that fails (NaN loss, memory, an error in a
    plugin) gets a record that says so. Errors in the user's data or home are raised, and so is
    Ctrl-C, after the interruption has been recorded.
    """
    workspace = context.workspace
    if record := settled(job, workspace):
        return record
    with _claimed(job, context, wait=wait) as lease:
        if lease is None:
            return None
        if record := settled(job, workspace):  # by the process that this one has waited for
            return record
        folder = workspace.run(job.spec)
        remove_leftovers(folder)
        if record := _given_up(job, context, lease):
            _announce(record, context)
            return record
        with crashes.noted(folder):
            record = workspace.trained(job.spec)
            network: nn.Module | None = None
            if record is None or job.again:
                training, started = _training(job, context), datetime.now(UTC)
                with pretraining.settings(job.spec, context):
                    try:
                        network = training.run()
                    except BaseException as problem:
                        record = fit_records.write_failure(training, started, problem)
                    else:
                        record = fit_records.write_outcome(training, started, "done")
            elif record.status != "done":  # it has failed in scoring, which is tried again
                record = record.model_copy(update={"status": "done", "error": None})
                write(record, folder)
            if record.status == "done":
                record = _score(record, job.tests, context, network)
        killed_processes.forget(folder)
        _announce(record, context)
        return record
    return None


def execute_from_home(
    job: Job, home: Path, *, device: str = "auto", data: Path | None = None
) -> Record:
    """Execute a job in a process that has nothing but the job and the home folder.

    `data` is the folder of real files, for a track that reads them. Raises what `execute_job`
    raises.
    """
    settings = numerics.choose(device)
    context = RunContext(
        workspace=Workspace(home),
        track=job.track,
        backbone=job.spec.backbone,
        numerics=settings,
        progress=Silent(),
        command=tuple(sys.argv),
        data_folder=data,
    )
    with settings.active():
        machine_precision.decide(context, asked=numerics.AUTO)
        record = execute_job(job, context)
    assert record is not None, "it waits for other processes"
    return record


@contextmanager
def _claimed(job: Job, context: RunContext, *, wait: bool) -> Iterator[Lease | None]:
    """Context in which this process alone works on a job; yields None where another one does.

    It ends without an error where another process has taken the job over meanwhile: what that one
    records counts.
    """
    title, progress = job.spec.title, context.progress

    def waiting() -> None:
        progress.say(f"Waiting for another process that works on {title} …")

    with context.workspace.claim(
        job.key, title, plan=context.plan_id, waiting=waiting if wait else None
    ) as lease:
        context.lease = lease
        try:
            yield lease
        except BenchError:
            if lease is None or not lease.lost:
                raise
            progress.say(f"{title}: another process has taken it over")
        finally:
            context.lease = None


def _given_up(job: Job, context: RunContext, lease: Lease) -> Record | None:
    """Write the record of a fit that has killed the processes at work on it, in training or in
    scoring; None for a fit that has not."""
    folder = context.workspace.run(job.spec)
    if crash := crashes.take(folder):
        context.refuse_method(job.spec, f"{crash[:-1]}, in its fit on {job.spec.title}.")
    reason = crash or killed_processes.repeated(folder, lease, resume.progress(folder))
    if reason is None:
        return None
    trained = context.workspace.trained(job.spec)
    if trained is None or job.again:
        training = _training(job, context)
        return fit_records.write_outcome(training, datetime.now(UTC), "failed", reason)
    failed = trained.model_copy(update={"status": "failed", "error": reason})
    write(failed, folder)
    return failed


def _training(job: Job, context: RunContext) -> Training:
    if job.spec.kind == "floor":
        return FloorTraining(spec=job.spec, context=context)
    if pretraining.is_sharded(job.spec, context.track):
        together = context.pretrain_devices > 1
        return (LaunchedPretraining if together else ShardedPretraining)(job.spec, context)
    return FitTraining(job.spec, context)


def _score(
    record: Record, tests: tuple[TestSet, ...], context: RunContext, network: nn.Module | None
) -> Record:
    """Score a fit on the test sets without scores; returns its record with them.

    The network is loaded from the fit's weights where it is not at hand.
    """
    missing = evaluation.missing(record, tests)
    if not missing:
        return record
    try:
        if network is None:
            network = evaluation.load(record, context)
        return evaluation.score(record, missing, context, network)
    except LeaseLostError:
        raise
    except Exception as problem:
        context.check_claim()
        status, error = fit_records.failure(problem)
        known = context.workspace.record(record.spec) or record
        failed = known.model_copy(update={"status": status, "error": error})
        write(failed, context.workspace.run(record.spec))
        return failed


def _announce(record: Record, context: RunContext) -> None:
    """Report how a fit has ended, in one line: its MAE on each clean test set, or its error."""
    clean = [c for c in record.cells if c.test_set.condition == CLEAN]
    if record.status != "done":
        outcome = f"{record.status}: {record.error}"
    elif clean:
        scores = [f"{c.test_set.name} {_rounded(c.scores.get('mae'))}" for c in clean]
        outcome = f"MAE {', '.join(scores)}"
    else:
        outcome = "done"
    context.progress.say(f"{record.spec.title}: {outcome}")


def _rounded(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
