"""The conductor: a plan's data, foundations and fits, one after the other, each recorded."""

import traceback
from datetime import UTC, datetime
from pathlib import Path

import torch

from bench import generate, probe, record
from bench.contract import Method
from bench.errors import BenchError, ConfigError, MethodError
from bench.fit import PRETRAINING, Fit
from bench.plan import Plan, datasets, starts_from_foundation
from bench.record import MethodCard, Record, Status
from bench.registry import Installed
from bench.session import Session
from bench.spec import RULES, FitSpec


def conduct(plan: Plan, session: Session) -> list[Record]:
    """Make what is missing: data, then for each seed its foundation and its fits.

    Returns the records of all fits of the plan that ran now. Failed fits are recorded and the
    others go on; a foundation that fails stops its fits.
    """
    for dataset in plan.datasets_to_make:
        _make_data(dataset, session)
    for dataset in datasets(plan.tasks):  # damaged files stop the run before any training
        session.collection.samples(dataset, "train")
        session.collection.samples(dataset, "test")
    ran: list[Record] = []
    orphaned: set[int] = set()
    for task in plan.tasks:
        if task.spec.seed in orphaned and starts_from_foundation(task):
            session.progress.say(f"{task.spec.title}: skipped, its foundation has failed")
            continue
        result = execute(task.spec, task.installed, session)
        ran.append(result)
        _tell(result, session)
        if task.installed is None and result.status != "done":
            orphaned.add(task.spec.seed)
    return ran


def execute(spec: FitSpec, installed: Installed | None, session: Session) -> Record:
    """Train and score one fit and write its record; returns the record found if it was done.

    A fit that fails (NaN loss, memory, an error in a plugin) gets a record that says so. Errors in
    the user's data or home are raised, and so is Ctrl-C, after noting the interruption.
    """

    def waiting() -> None:
        session.progress.say(f"Waiting for another process that works on {spec.title} …")

    with session.home.lock(spec.run_id, waiting):
        if found := session.home.find(spec):
            return found
        started = datetime.now(UTC)
        fit = Fit(spec, installed.method if installed else PRETRAINING, session)

        def write(status: Status, error: str | None) -> Record:
            result = _record(fit, installed, status, error, started)
            record.write(result, fit.folder)
            return result

        try:
            fit.run()
        except (MethodError, ConfigError) as problem:
            return write("failed", str(problem))
        except BenchError:
            raise
        except KeyboardInterrupt:
            write("interrupted", None)
            raise
        except (torch.OutOfMemoryError, MemoryError) as problem:
            return write("out_of_memory", str(problem) or type(problem).__name__)
        except Exception as problem:  # the run boundary: whatever a plugin does wrong is recorded
            last = traceback.extract_tb(problem.__traceback__)[-1]
            where = f"{Path(last.filename).name}:{last.lineno}"
            return write("failed", f"{type(problem).__name__}: {problem} ({where})")
        return write("done", None)


def _make_data(dataset: str, session: Session) -> None:
    folder, data = session.data_root, session.track.data

    def waiting() -> None:
        session.progress.say(f"Waiting for another process that makes {dataset} …")

    with session.home.lock(f"data-{folder.name}-{dataset}", waiting):
        missing = generate.missing(folder, dataset, data)
        with session.progress.stage(f"simulate {dataset}", missing, "records") as advance:
            generate.make(folder, dataset, data, device=session.numerics.device, advance=advance)


def _record(
    fit: Fit, installed: Installed | None, status: Status, error: str | None, started: datetime
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


def _tell(result: Record, session: Session) -> None:
    title = result.spec.title
    if result.status != "done":
        session.progress.say(f"{title}: {result.status}: {result.error}")
        return
    scores = ", ".join(f"{cell.dataset} {cell.mae:.3f}" for cell in result.cells)
    session.progress.say(f"{title}: MAE {scores}")
