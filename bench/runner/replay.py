"""Replay: repeat a recorded run from its record alone, outside its workspace."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from bench.data import generate
from bench.errors import ConfigError, DataError, MethodError, RecordError, UnknownNameError
from bench.plugins.registry import Installed
from bench.progress import Progress
from bench.records.reader import read
from bench.records.record import FILE, Record, write
from bench.runner import initial_weights, provenance
from bench.runner.context import RunContext
from bench.runner.execution import execute_plan
from bench.runner.jobs import Job
from bench.runner.plan import Plan, datasets, to_resimulate
from bench.runner.reproducibility import Reproduction
from bench.runner.workspace import Workspace
from bench.training import numerics


def find(workspace: Workspace, word: str) -> Path:
    """The record that a path, a run id or the beginning of one names.

    Raises `RecordError` for a path that is not there and an ambiguous beginning, `UnknownNameError`
    for no run of this home.
    """
    path = Path(word)
    if path.is_dir():
        path = path / FILE
    if path.is_file():
        return path
    if os.sep in word:
        raise RecordError(f"{word} is not there; name a run's folder, its record, or a run id.")
    known = {p.parent.name: p for p in workspace.records()}
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
    if not record.cells:
        raise RecordError(f"Run {record.run_id} has no scores: there is nothing to compare.")
    if record.run_id != record.spec.run_id:
        raise RecordError(f"Run {record.run_id}: the id is not the hash of its specification.")
    return record


def replay(
    record: Record,
    *,
    workspace: Workspace,
    scratch: Path,
    progress: Progress,
    data_folder: Path | None = None,
    device: str | None = None,
    precision: str | None = None,
) -> Reproduction:
    """Repeat a run in the folder `scratch`; the workspace is only read.

    `device` and `precision` are words of `numerics.choose`; None: those of the record, with as many
    threads. Data and foundation are taken from the workspace where their hashes are those of the
    record, and made again elsewhere.

    Raises `ConfigError` where this program or machine cannot repeat it, `DataError` for other real
    files than those of the record.
    """
    settings = _numerics(record, device, precision)
    threads = torch.get_num_threads()
    if device is None:
        torch.set_num_threads(record.execution.determinism.threads)
    try:
        context = RunContext(
            workspace=Workspace(scratch),
            track=record.track,
            backbone=record.spec.backbone,
            numerics=settings,
            progress=progress,
            command=record.execution.command,
            data_folder=data_folder,
        )
        installed = _installed(record, context)
        initial_weights.borrow(record.spec.backbone, workspace, context.workspace)
        if other := context.other_data(record):
            raise DataError(
                f"Run {record.run_id} was made from other files of {', '.join(other)} than those "
                f"in {context.data_root}; name the folder of its data with --data."
            )
        if context.fingerprint != record.spec.fingerprint:
            version = record.execution.versions.get("fwi-peft-bench", "unknown")
            known_as = f" ({record.former_id} in its file)" if record.former_id else ""
            raise ConfigError(
                f"Run {record.run_id}{known_as} follows another protocol (fingerprint "
                f"{record.spec.fingerprint}; this program has {context.fingerprint}); use the "
                f"fwi-peft-bench that wrote it: version {version}, commit "
                f"{record.execution.commit}."
            )
        if provenance.other_code(record, installed):
            progress.say(
                f"Note: method '{record.spec.method.name}', or what it imports, had other code "
                "under the same version when the run was recorded, which should change no numbers."
            )
        jobs = _jobs(record, context, workspace)
        to_make = _borrow_data(record, jobs, context, workspace)
        resimulated = to_resimulate(jobs, to_make, context)
        plan = Plan(
            jobs=jobs,
            untrained=frozenset(job.key for job in jobs),
            datasets_to_make=tuple(to_make),
            records_to_resimulate=resimulated,
            records_to_simulate=sum(to_make.values()) + sum(resimulated.values()),
        )
        with settings.active():
            replayed = execute_plan(plan, context)[-1]
    finally:
        torch.set_num_threads(threads)
    return Reproduction(recorded=record, replayed=replayed)


def note(comparison: Reproduction, path: Path) -> bool:
    """Note in the record at `path` that the harness has repeated the run with agreeing numbers.

    Returns whether it could: a run that disagrees keeps the level that it has, and so does one that
    has been trained or scored again meanwhile. Cells that were added meanwhile stay.
    """
    now, compared = read(path), comparison.recorded
    same = now.counts == compared.counts and all(cell in now.cells for cell in compared.cells)
    if comparison.agrees and same:
        write(now.model_copy(update={"level": "replayed"}), path.parent)
    return comparison.agrees and same


def _installed(record: Record, context: RunContext) -> Installed:
    """The method of the record. Raises `ConfigError` where it is not installed in that version."""
    try:
        return context.installed(record.spec)
    except (MethodError, UnknownNameError) as error:
        release = record.method_release.distribution_version
        raise ConfigError(
            f"Run {record.run_id} cannot be repeated: {error} The record names "
            f"{record.spec.method.distribution} {release}."
        ) from error


def _numerics(record: Record, device: str | None, precision: str | None) -> numerics.Numerics:
    wanted = record.execution.determinism
    chosen = numerics.choose(
        device or wanted.device, frugal=wanted.frugal, precision=precision or wanted.precision
    )
    return replace(chosen, channels_last=wanted.channels_last)


def _jobs(record: Record, context: RunContext, workspace: Workspace) -> tuple[Job, ...]:
    tests = tuple(cell.test_set for cell in record.cells)
    own = Job(track=record.track, spec=record.spec, tests=tests)
    if record.foundation_sha256 is None:
        return (own,)
    foundation = context.foundation_spec(record.spec.seed)
    known = workspace.trained(foundation)
    if known and known.counts and known.counts.adapter_sha256 == record.foundation_sha256:
        shutil.copytree(workspace.run(foundation), context.workspace.run(foundation))
        return (own,)
    context.progress.say("The foundation of the record is not in this home: pretraining it again.")
    return Job(track=record.track, spec=foundation), own


def _borrow_data(
    record: Record, jobs: Sequence[Job], context: RunContext, workspace: Workspace
) -> dict[str, int]:
    """Link the workspace's datasets whose hashes agree; returns what has to be simulated."""
    if record.track.data.source != "generated":
        return {}
    recorded = dict(record.data_sha256)
    for evaluation in record.evaluations:
        recorded |= evaluation.data_sha256
    to_make = {}
    for name in datasets(jobs, frozenset(job.key for job in jobs)):
        there = workspace.data(context.data_root.name)
        missing = generate.missing(there, name, record.track.data)
        wanted = recorded.get(name)
        if not missing and wanted in (None, generate.content_hash(there, name)):
            context.data_root.mkdir(parents=True, exist_ok=True)
            (context.data_root / name).symlink_to(there / name, target_is_directory=True)
        else:
            to_make[name] = generate.missing(context.data_root, name, record.track.data)
    return to_make
