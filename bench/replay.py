"""Repeats a recorded run from its record alone, aside, and compares the numbers."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from bench.data import generate
from bench.errors import ConfigError, RecordError, UnknownNameError
from bench.home import Home
from bench.plan import Plan, Task
from bench.plugins.registry import Installed, Registry
from bench.progress import Progress
from bench.record import FILE, Cell, Record, read
from bench.run import conduct
from bench.session import Session
from bench.training import numerics

SCORES = ("mae", "rmse", "ssim")
RELATIVE = 0.05
"""Allowed where runs cannot be bit-identical."""


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How far two runs of one specification may differ in a score, relative to it."""

    relative: float
    reasons: tuple[str, ...]
    """Why it is not zero; empty where the numbers must be bit-identical."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One score of one cell."""

    dataset: str
    score: str
    recorded: float
    replayed: float

    @property
    def relative(self) -> float:
        scale = abs(self.recorded)
        gap = abs(self.replayed - self.recorded)
        return gap / scale if scale else gap


@dataclass(frozen=True, kw_only=True)
class Replay:
    """A recorded run beside its repetition."""

    recorded: Record
    replayed: Record
    tolerance: Tolerance
    differences: tuple[Difference, ...]

    @property
    def same_weights(self) -> bool:
        """Whether the saved weights agree bit for bit."""
        a, b = self.recorded.counts, self.replayed.counts
        return a is not None and b is not None and a.adapter_sha256 == b.adapter_sha256

    @property
    def agrees(self) -> bool:
        if self.replayed.status != "done" or not self.differences:
            return False
        if not self.tolerance.reasons and not self.same_weights:
            return False
        return all(d.relative <= self.tolerance.relative for d in self.differences)


def find(home: Home, word: str) -> Record:
    """The finished record that a path, run id or the beginning of one names.

    Raises `RecordError` for a record that cannot be repeated, `UnknownNameError` for none.
    """
    path = Path(word)
    if path.is_dir():
        path = path / FILE
    if path.is_file():
        record = read(path)
    else:
        known = {p.parent.name: p for p in home.records()}
        matching = [run_id for run_id in known if run_id.startswith(word)]
        if len(matching) != 1:
            if matching:
                raise RecordError(f"Run '{word}' is ambiguous: {', '.join(matching)}.")
            hint = " `bench runs` lists them."
            raise UnknownNameError("run", word, known if len(known) < 20 else (), hint)
        record = read(known[matching[0]])
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
) -> Replay:
    """Repeat a run in the folder `scratch`; the home is only read.

    Data and foundation are taken from the home where their hashes are those of the record, and
    made again elsewhere. Raises `ConfigError` where this program or machine cannot repeat it.
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
    return Replay(
        recorded=record,
        replayed=replayed,
        tolerance=tolerance(record, replayed),
        differences=differences(record.cells, replayed.cells),
    )


def tolerance(recorded: Record, replayed: Record) -> Tolerance:
    """What the determinism settings and the two machines promise.

    On one kind of CPU, with the same number of threads and versions, training is deterministic to
    the bit. Elsewhere sums are rounded in another order, and training amplifies that.
    """
    a, b = recorded, replayed
    reasons = []
    settings = (a.determinism, b.determinism)
    if any(s.device != "cpu" and not s.deterministic_algorithms for s in settings):
        reasons.append("GPU kernels do not fix the order of their sums")
    if a.determinism.device.partition(":")[0] != b.determinism.device.partition(":")[0]:
        reasons.append(f"on {b.determinism.device}, not {a.determinism.device}")
    if a.machine.gpu != b.machine.gpu and any(s.device != "cpu" for s in settings):
        reasons.append(f"GPU {b.machine.gpu}, not {a.machine.gpu}")
    if a.determinism.threads != b.determinism.threads:
        reasons.append(f"{b.determinism.threads} threads, not {a.determinism.threads}")
    if a.determinism.precision != b.determinism.precision:
        reasons.append(f"{b.determinism.precision}, not {a.determinism.precision}")
    if a.machine.processor != b.machine.processor:
        reasons.append(f"on {b.machine.processor}, not {a.machine.processor}")
    for package, version in a.versions.items():
        if package != "fwi-peft-bench" and b.versions.get(package) != version:
            reasons.append(f"{package} {b.versions.get(package)}, not {version}")
    if a.data_sha256 != b.data_sha256:
        reasons.append("the simulated data differ in their last digits")
    if a.foundation_sha256 != b.foundation_sha256:
        reasons.append("the foundation was pretrained again and differs")
    if a.resumed:
        reasons.append("the run was interrupted and resumed")
    return Tolerance(relative=RELATIVE if reasons else 0.0, reasons=tuple(reasons))


def differences(recorded: Sequence[Cell], replayed: Sequence[Cell]) -> tuple[Difference, ...]:
    """Every score of every cell that both have."""
    again = {cell.dataset: cell for cell in replayed}
    return tuple(
        Difference(
            dataset=cell.dataset,
            score=score,
            recorded=getattr(cell, score),
            replayed=getattr(again[cell.dataset], score),
        )
        for cell in recorded
        if cell.dataset in again
        for score in SCORES
    )


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
