"""Execution of a plan by one process, alone or beside others: data first, then the jobs."""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from bench.atomic import write_atomically
from bench.records.record import Record
from bench.runner import evaluation, stored_plan
from bench.runner.context import RunContext
from bench.runner.data import check, make, resimulate
from bench.runner.jobs import Job, execute_job
from bench.runner.plan import Plan, datasets, epoch_samples

_POLL_SECONDS = 0.5
"""Time between checks of jobs that other processes have claimed."""


def execute_plan(
    plan: Plan,
    context: RunContext,
    *,
    only_foundations: bool = False,
    settled: Callable[[Job], None] | None = None,
) -> list[Record]:
    """Make the data that are missing, then train and score job after job; returns their records.

    `settled` is called with each job when nothing is left to do with it; without it, the progress
    of all jobs together is shown. A fit waits for its foundation; one that fails is recorded and
    the others go on, but for the fits of a foundation that has failed. Jobs that other processes
    work on are left to the end, when they are usually found done. Raises `DataError` for the first
    fault in the data, and `KeyboardInterrupt` where the context is to stop.
    """
    prepare_data(plan, context)
    records: list[Record] = []
    pending = [job for job in plan.jobs if not only_foundations or job.spec.kind == "pretraining"]
    failed_foundations: set[int] = set()
    announced: set[str] = set()
    reports: AbstractContextManager[Callable[[Job], None]]
    reports = _total_progress(plan, context) if settled is None else nullcontext(settled)
    with _quick_collection(), reports as report:
        while pending:
            postponed: list[Job] = []
            awaited = {job.spec.seed for job in pending if job.spec.kind == "pretraining"}
            for job in pending:
                if context.stopping():
                    raise KeyboardInterrupt
                title, seed = job.spec.title, job.spec.seed
                if seed in awaited | failed_foundations and _starts_from_foundation(job, context):
                    if seed in failed_foundations:
                        context.progress.say(f"{title}: skipped, its foundation has failed")
                    else:
                        postponed.append(job)
                    continue
                record = execute_job(job, context, wait=False)
                if record is None:
                    postponed.append(job)
                    continue
                gc.collect()  # networks refer to themselves; the next fit needs the memory
                if job.spec.kind == "pretraining":
                    awaited.discard(seed)
                    if record.status != "done":
                        failed_foundations.add(seed)
                records.append(record)
                report(job)
            if len(postponed) == len(pending):
                _wait(postponed[0].spec.title, announced, context)
            pending = postponed
    return records


def prepare_data(plan: Plan, context: RunContext) -> None:
    """Make the data that are missing, and check all that the plan needs.

    Of several processes each makes what no other is making. Raises `DataError` for the first fault.
    """
    for wait in (False, True):
        for dataset in plan.datasets_to_make:
            make(dataset, context, wait=wait)
    _check_once(plan, context)
    for wait in (False, True):
        for test in plan.records_to_resimulate:
            resimulate(test, context, wait=wait)


def _check_once(plan: Plan, context: RunContext) -> None:
    """Check the data; of several workers on a stored plan, the first does it for all."""
    workspace, name = context.workspace, context.plan_id
    if not name:
        check(datasets(plan.jobs, plan.untrained), context)
        return
    note = stored_plan.folder(workspace, name) / "checked"
    title = "the check of the data"
    with workspace.claim(f"check-{name}", title, plan=name, waiting=lambda: None):
        if not note.exists():
            check(datasets(plan.jobs, plan.untrained), context)
            write_atomically(note, b"")


def samples_by_job(plan: Plan, context: RunContext) -> dict[str, int]:
    """Number of samples that pass through the network in each job, by its key."""
    return {job.key: _samples(job, plan, context) for job in plan.jobs}


def _samples(job: Job, plan: Plan, context: RunContext) -> int:
    scored = sum(evaluation.samples(job.spec, test, context) for test in job.tests)
    if not plan.trains(job):
        return scored
    epochs = context.track.budget(job.spec.kind).epochs
    return scored + epochs * epoch_samples(job.spec, context.track)


@contextmanager
def _total_progress(plan: Plan, context: RunContext) -> Iterator[Callable[[Job], None]]:
    """Context that shows the progress of all jobs together; yields what to call after each."""
    samples = samples_by_job(plan, context)
    with context.progress.stage("in all", sum(samples.values()), "samples") as advance:
        yield lambda job: advance(samples[job.key])


def _wait(title: str, announced: set[str], context: RunContext) -> None:
    if title not in announced:
        announced.add(title)
        context.progress.say(f"Waiting for another process that works on {title} …")
    time.sleep(_POLL_SECONDS)


def _starts_from_foundation(job: Job, context: RunContext) -> bool:
    if job.spec.kind != "adaptation":
        return False
    return context.installed(job.spec).method.traits.start == "foundation"


@contextmanager
def _quick_collection() -> Iterator[None]:
    """Context in which garbage collection skips the objects that exist now, mainly modules.

    Looking through them after each fit takes a quarter of a second.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
