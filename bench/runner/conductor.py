"""The conductor: a plan's data, foundations and fits, one after the other, each recorded."""

import gc
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import torch

from bench.atomic import remove_leftovers
from bench.contract import Method
from bench.errors import BenchError, ConfigError, MethodError
from bench.plugins.pretraining import PRETRAINING
from bench.plugins.registry import Installed
from bench.protocol.spec import RULES, FitSpec
from bench.records import record
from bench.records.record import MethodCard, Record, Status
from bench.runner import supply
from bench.runner.context import Session
from bench.runner.fit import Fit
from bench.runner.plan import Plan, Task, budget_of, datasets, epoch_samples, starts_from_foundation
from bench.runner.preflight import check_data
from bench.runner.tuning import Tried
from bench.training import probe


def conduct(plan: Plan, session: Session) -> list[Record]:
    """Make what is missing: data, then for each seed its foundation and its fits.

    Returns the records of all fits of the plan that ran now. Failed fits are recorded and the
    others go on; a foundation that fails stops its fits. Fits that another process works on are
    left to the end, when they are usually found done.
    """
    for dataset in plan.datasets_to_make:
        supply.make(
            dataset,
            home=session.home,
            track=session.track,
            device=session.numerics.device,
            progress=session.progress,
        )
    check_data(session, datasets(plan.tasks))
    with _quick_collection():
        return _fits(plan, session)


def _fits(plan: Plan, session: Session) -> list[Record]:
    work = {t.spec.run_id: _samples(t, session) for t in plan.tasks}
    ran: list[Record] = []
    orphaned: set[int] = set()
    tried = Tried(session.home)
    todo = list(plan.tasks)
    with session.progress.stage("in all", sum(work.values()), "samples") as advance:
        for patient in (False, True):
            busy = []
            for task in todo:
                if task.spec.seed in orphaned and starts_from_foundation(task):
                    session.progress.say(f"{task.spec.title}: skipped, its foundation has failed")
                    continue
                wait = patient or task.installed is None  # a foundation's fits need it
                result = execute(task.spec, task.installed, session, tried, wait=wait)
                if result is None:
                    busy.append(task)
                    continue
                advance(work[task.spec.run_id])
                ran.append(result)
                if task.installed is None and result.status != "done":
                    orphaned.add(task.spec.seed)
            todo = busy
    return ran


def _samples(task: Task, session: Session) -> int:
    return budget_of(task, session.track).epochs * epoch_samples(task, session.track)


def execute(
    spec: FitSpec, installed: Installed | None, session: Session, tried: Tried, *, wait: bool = True
) -> Record | None:
    """Train and score one fit and write its record; returns the record found if it was done.

    None if another process works on it and `wait` is False. A fit that fails (NaN loss, memory, an
    error in a plugin) gets a record that says so. Errors in the user's data or home are raised, and
    so is Ctrl-C, after noting the interruption.
    """

    def waiting() -> None:
        session.progress.say(f"Waiting for another process that works on {spec.title} …")

    with session.home.lock(spec.run_id, waiting if wait else None) as held:
        if not held:
            return None
        if found := session.home.find(spec):
            session.progress.say(f"{spec.title}: done by another process")
            return found
        started = datetime.now(UTC)
        fit = Fit(spec, installed.method if installed else PRETRAINING, session)
        remove_leftovers(fit.folder)

        def write(status: Status, error: str | None = None) -> Record:
            result = _record(fit, installed, status, error, started, tried.count(spec))
            if status == "done" or not session.home.was_done(spec):
                record.write(result, fit.folder)
            if status in ("done", "failed"):
                fit.forget_progress()
            _tell(result, fit)
            return result

        try:
            fit.run()
        except (MethodError, ConfigError) as problem:
            return write("failed", str(problem))
        except BenchError:
            raise
        except KeyboardInterrupt:
            write("interrupted")
            raise
        except Exception as problem:  # the run boundary: whatever a plugin does wrong is recorded
            if _out_of_memory(problem):
                return write("out_of_memory", str(problem) or type(problem).__name__)
            last = traceback.extract_tb(problem.__traceback__)[-1]
            where = f"{Path(last.filename).name}:{last.lineno}"
            return write("failed", f"{type(problem).__name__}: {problem} ({where})")
        finally:
            gc.collect()  # networks refer to themselves; the next fit needs the memory
        return write("done")


@contextmanager
def _quick_collection() -> Iterator[None]:
    """Inside, the collector passes over what is there now, modules above all.

    Looking through them after each fit takes a quarter of a second.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _out_of_memory(problem: Exception) -> bool:
    """On a CPU torch has no type of its own for it."""
    if isinstance(problem, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(problem, RuntimeError) and "can't allocate memory" in str(problem)


def _record(
    fit: Fit,
    installed: Installed | None,
    status: Status,
    error: str | None,
    started: datetime,
    configs_tried: int,
) -> Record:
    session, spec = fit.session, fit.spec
    commit, dirty = probe.commit()
    seen = tuple(dict.fromkeys(spec.datasets + spec.test_datasets))
    return Record(
        run_id=spec.run_id,
        status=status,
        error=error,
        spec=spec,
        track=session.track,
        rules=RULES,
        method_distribution_version=installed.distribution_version if installed else None,
        method_card=_card(installed.method) if installed else None,
        configs_tried=configs_tried,
        foundation_sha256=fit.foundation_sha256,
        data_sha256=session.data_sha256(seen),
        curve=tuple(fit.curve),
        train=fit.train_phase,
        score=fit.score_phase,
        counts=fit.counts,
        cells=tuple(fit.cells),
        facts=fit.facts,
        machine=probe.machine(),
        versions=probe.versions(),
        commit=commit,
        dirty=dirty,
        command=session.command,
        determinism=session.numerics.describe(),
        started=started,
        ended=datetime.now(UTC),
        resumed=fit.resumed,
    )


def _card(method: Method) -> MethodCard:
    return MethodCard(
        category=method.traits.category,
        summary=method.summary,
        source=method.source,
        start=method.traits.start,
    )


def _tell(result: Record, fit: Fit) -> None:
    if result.status == "done":
        told = "MAE " + ", ".join(f"{cell.dataset} {cell.mae:.3f}" for cell in result.cells)
    elif result.status == "interrupted":
        told = f"interrupted; {fit.kept_epochs} of {fit.budget.epochs} epochs are kept"
    else:
        told = f"{result.status}: {result.error}"
    fit.session.progress.say(f"{result.spec.title}: {told}")
