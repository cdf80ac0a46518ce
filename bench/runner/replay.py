"""Repeats a recorded run from its record alone, aside from the home that has it."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from bench.data import generate
from bench.errors import ConfigError, DataError, RecordError, UnknownNameError
from bench.plugins.registry import Installed, Registry
from bench.progress import Progress
from bench.records.record import FILE, Record, read, write
from bench.runner.conductor import conduct
from bench.runner.context import Session
from bench.runner.plan import Plan, Task
from bench.runner.reproducibility import Agreement
from bench.runner.workspace import Home
from bench.training import numerics


def find(home: Home, word: str) -> Path:
    """The record that a path, a run id or the beginning of one names.

    Raises `RecordError` for an ambiguous beginning, `UnknownNameError` for none.
    """
    path = Path(word)
    if path.is_dir():
        path = path / FILE
    if path.is_file():
        return path
    known = {p.parent.name: p for p in home.records()}
    matching = [run_id for run_id in known if run_id.startswith(word)]
    if len(matching) == 1:
        return known[matching[0]]
    if matching:
        raise RecordError(f"Run '{word}' is ambiguous: {', '.join(matching)}.")
    hint = " `bench runs` lists them."
    raise UnknownNameError("run", word, known if len(known) < 20 else (), hint)


def repeatable(path: Path) -> Record:
    """Read a record; raises `RecordError` for one that cannot be repeated and compared."""
    record = read(path)
    if record.status != "done":
        raise RecordError(f"Run {record.run_id} is {record.status}: there is nothing to compare.")
    if record.run_id != record.spec.run_id:
        raise RecordError(f"Run {record.run_id}: the id is not the hash of its specification.")
    return record


def replay(
    record: Record,
    *,
    home: Home,
    scratch: Path,
    registry: Registry,
    progress: Progress,
    data_folder: Path | None = None,
) -> Agreement:
    """Repeat a run in the folder `scratch`; the home is only read.

    Data and foundation are taken from the home where their hashes are those of the record, and
    made again elsewhere. Raises `ConfigError` where this program or machine cannot repeat it,
    `DataError` for other real files than those of the record.
    """
    installed = _installed(record, registry)
    settings = _numerics(record)
    threads = torch.get_num_threads()
    torch.set_num_threads(record.determinism.threads)
    try:
        session = Session(
            home=Home(scratch),
            track=record.track,
            backbone=record.spec.backbone,
            numerics=settings,
            progress=progress,
            command=record.command,
            data_folder=data_folder,
        )
        if other := session.other_data(record):
            raise DataError(
                f"Run {record.run_id} was made from other files of {', '.join(other)} than those "
                f"in {session.data_root}; name the folder of its data with --data."
            )
        if session.fingerprint != record.spec.fingerprint:
            version = record.versions.get("fwi-peft-bench", "unknown")
            raise ConfigError(
                f"Run {record.run_id} follows another protocol (fingerprint "
                f"{record.spec.fingerprint}; this program has {session.fingerprint}); use the "
                f"fwi-peft-bench that wrote it: version {version}, commit {record.commit}."
            )
        tasks = _tasks(record, installed, session, home)
        to_make = _borrow_data(record, tasks, session, home)
        plan = Plan(
            tasks=tasks,
            done=(),
            datasets_to_make=tuple(to_make),
            records_to_simulate=sum(to_make.values()),
            strays=0,
        )
        replayed = conduct(plan, session)[-1]
    finally:
        torch.set_num_threads(threads)
    return Agreement(recorded=record, replayed=replayed)


def note(found: Agreement, path: Path) -> bool:
    """Note in the record at `path` that the harness has retrained the run with agreeing numbers.

    Returns whether it could: a run that disagrees keeps the level that it has.
    """
    if found.agrees:
        write(found.recorded.model_copy(update={"verification": "retrained"}), path.parent)
    return found.agrees


def _installed(record: Record, registry: Registry) -> Installed | None:
    method = record.spec.method
    if method is None:
        return None
    installed = registry.get(method.name)
    if installed.distribution != method.distribution or installed.code != method.code:
        raise ConfigError(
            f"Run {record.run_id} used method '{method.name}' of {method.distribution} "
            f"{record.method_distribution_version} (code {method.code}); installed is "
            f"{installed.distribution} {installed.distribution_version} (code {installed.code}), "
            "which may give other numbers. Install the package that the record names."
        )
    return installed


def _numerics(record: Record) -> numerics.Numerics:
    wanted = record.determinism
    chosen = numerics.choose(wanted.device, frugal=wanted.frugal)
    return replace(
        chosen, bfloat16=wanted.precision == "bfloat16", channels_last=wanted.channels_last
    )


def _tasks(
    record: Record, installed: Installed | None, session: Session, home: Home
) -> tuple[Task, ...]:
    own = Task(spec=record.spec, installed=installed, trainable_parameters=0)
    if record.foundation_sha256 is None:
        return (own,)
    spec = session.foundation_spec(record.spec.seed)
    found = home.find(spec)
    if found and found.counts and found.counts.adapter_sha256 == record.foundation_sha256:
        shutil.copytree(home.run(spec), session.home.run(spec))
        return (own,)
    session.progress.say("The foundation of the record is not in this home: pretraining it again.")
    return Task(spec=spec, installed=None, trainable_parameters=0), own


def _borrow_data(
    record: Record, tasks: Sequence[Task], session: Session, home: Home
) -> dict[str, int]:
    """Link the home's datasets whose hashes agree; returns what has to be simulated."""
    if record.track.data.source != "generated":
        return {}
    names = dict.fromkeys(d for t in tasks for d in t.spec.datasets + t.spec.test_datasets)
    to_make = {}
    for name in names:
        there = home.data(session.data_root.name)
        missing = generate.missing(there, name, record.track.data)
        wanted = record.data_sha256.get(name)
        if not missing and wanted in (None, generate.content_hash(there, name)):
            session.data_root.mkdir(parents=True, exist_ok=True)
            (session.data_root / name).symlink_to(there / name, target_is_directory=True)
        else:
            to_make[name] = generate.missing(session.data_root, name, record.track.data)
    return to_make
