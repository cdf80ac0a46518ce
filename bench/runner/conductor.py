"""Execution of a plan by one process, alone or beside others: data first, then the jobs."""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.atomic import write_atomically
from bench.records.record import Record
from bench.runner import evaluation, stored_plan
from bench.runner.context import RunContext
from bench.runner.data import check, make, resimulate
from bench.runner.jobs import Job, execute
from bench.runner.plan import Plan, datasets, epoch_samples
from bench.runner.training import budget_of

_POLL_SECONDS = 0.5
"""Between looks at jobs that other processes have claimed."""


def conduct(plan: Plan, context: RunContext) -> list[Record]:
    """Execute a plan: missing data, then for each seed its foundation and its fits.

    Returns the records of its jobs, of those that another process has executed meanwhile too.
    Failed fits are recorded and the others go on; a foundation that fails stops its fits.
    """
    prepare(plan, context)
    samples = work_of(plan, context)
    records: list[Record] = []
    with context.progress.stage("in all", sum(samples.values()), "samples") as advance:
        for job, record in work(plan, context):
            advance(samples[job.key])
            records.append(record)
    return records


def prepare(plan: Plan, context: RunContext) -> None:
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


def work_of(plan: Plan, context: RunContext) -> dict[str, int]:
    """The work of each job by its key, in samples that pass through the network."""
    return {job.key: _samples(job, plan, context) for job in plan.jobs}


def work(
    plan: Plan, context: RunContext, *, only_foundations: bool = False
) -> Iterator[tuple[Job, Record]]:
    """Execute the jobs of a plan whose data are there; yields each with its record.

    Jobs that other processes work on are left to the end, when they are usually found done; a fit
    waits for its foundation. Raises `KeyboardInterrupt` where the context is to stop.
    """
    todo = [job for job in plan.jobs if not only_foundations or job.spec.kind == "pretraining"]
    orphaned: set[int] = set()
    told: set[str] = set()
    with _quick_collection():
        while todo:
            awaited = {job.spec.seed for job in todo if job.spec.kind == "pretraining"}
            left: list[Job] = []
            for job in todo:
                if context.stopping():
                    raise KeyboardInterrupt
                seed, pretraining = job.spec.seed, job.spec.kind == "pretraining"
                if seed in awaited | orphaned and _starts_from_foundation(job, context):
                    if seed in orphaned:
                        title = job.spec.title
                        context.progress.say(f"{title}: skipped, its foundation has failed")
                    else:
                        left.append(job)
                    continue
                record = execute(job, context, wait=False)
                if record is None:
                    left.append(job)
                    continue
                if pretraining:
                    awaited.discard(seed)
                    if record.status != "done":
                        orphaned.add(seed)
                yield job, record
            if len(left) == len(todo):
                _wait(left[0].spec.title, told, context)
            todo = left


def _wait(title: str, told: set[str], context: RunContext) -> None:
    if title not in told:
        told.add(title)
        context.progress.say(f"Waiting for another process that works on {title} …")
    time.sleep(_POLL_SECONDS)


def _starts_from_foundation(job: Job, context: RunContext) -> bool:
    if job.spec.kind != "adaptation":
        return False
    return context.installed(job.spec).method.traits.start == "foundation"


def _samples(job: Job, plan: Plan, context: RunContext) -> int:
    scored = sum(evaluation.samples(job.spec, test, context) for test in job.tests)
    if not plan.trains(job):
        return scored
    track = context.track
    return scored + budget_of(job.spec, track).epochs * epoch_samples(job.spec, track)


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
