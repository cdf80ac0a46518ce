"""Execution of a plan: data first, then the jobs one after the other."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from bench.records.record import Record
from bench.runner import evaluation
from bench.runner.context import RunContext
from bench.runner.data import check, make, resimulate
from bench.runner.jobs import Job, execute
from bench.runner.plan import Plan, datasets, epoch_samples
from bench.runner.training import budget_of


def conduct(plan: Plan, context: RunContext) -> list[Record]:
    """Execute a plan: missing data, then for each seed its foundation and its fits.

    Returns the records of the jobs that were executed now. Failed fits are recorded and the others
    go on; a foundation that fails stops its fits. Fits that another process works on are left to
    the end, when they are usually found done.
    """
    for dataset in plan.datasets_to_make:
        make(dataset, context)
    check(datasets(plan.jobs, plan.untrained), context)
    for test in plan.records_to_resimulate:
        resimulate(test, context)
    work = {job.key: _samples(job, plan, context) for job in plan.jobs}
    records: list[Record] = []
    orphaned: set[int] = set()
    todo = list(plan.jobs)
    stage = context.progress.stage("in all", sum(work.values()), "samples")
    with stage as advance, _quick_collection():
        for patient in (False, True):
            busy = []
            for job in todo:
                pretraining = job.spec.kind == "pretraining"
                if job.spec.seed in orphaned and _starts_from_foundation(job, context):
                    context.progress.say(f"{job.spec.title}: skipped, its foundation has failed")
                    continue
                # A foundation is waited for, since its fits need it
                record = execute(job, context, wait=patient or pretraining)
                if record is None:
                    busy.append(job)
                    continue
                advance(work[job.key])
                records.append(record)
                if pretraining and record.status != "done":
                    orphaned.add(job.spec.seed)
            todo = busy
    return records


def _starts_from_foundation(job: Job, context: RunContext) -> bool:
    if job.spec.kind != "adaptation":
        return False
    return context.installed(job.spec).method.traits.start == "foundation"


def _samples(job: Job, plan: Plan, context: RunContext) -> int:
    """The work of a job, in samples that pass through the network."""
    scored = sum(evaluation.samples(job.spec, test, context) for test in job.tests)
    if job.key not in plan.untrained or job.spec.kind == "floor":
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
