"""Protocol → fits not yet recorded, and what they need."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.data import generate, layout
from bench.data.subsets import SMALLEST_SUBSET
from bench.errors import DataError
from bench.plugins import parameter_counts
from bench.plugins.options import Choice
from bench.plugins.registry import Installed
from bench.protocol.protocols import Protocol, Slot
from bench.protocol.spec import Budget, FitSpec, Track
from bench.records.record import Record
from bench.runner.context import Session


@dataclass(frozen=True, kw_only=True)
class Task:
    """A fit to train; `installed` None is the pretraining of a foundation."""

    spec: FitSpec
    installed: Installed | None
    trainable_parameters: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a command has to do, and what it finds done."""

    tasks: tuple[Task, ...]
    """Fits to train, each after the foundation it starts from."""
    done: tuple[Record, ...]
    """Records of the fits that need not be repeated."""
    datasets_to_make: tuple[str, ...]
    records_to_simulate: int
    strays: int
    """Recorded fits that started from another foundation than the one that is there now."""

    @property
    def foundations(self) -> int:
        return sum(task.installed is None for task in self.tasks)

    @property
    def fits(self) -> int:
        return len(self.tasks) - self.foundations

    @property
    def cells(self) -> int:
        return sum(len(task.spec.test_datasets) for task in self.tasks)


def plan(
    protocol: Protocol,
    choices: Sequence[Choice],
    seeds: Sequence[int],
    session: Session,
    *,
    candidates: Sequence[Choice] = (),
) -> Plan:
    """Everything that a protocol asks of these methods and seeds, less what is recorded.

    `candidates` are the configs that slots scored on validation data try. Raises `DataError` for
    records of real files with another content than those at hand.
    """
    tasks: list[Task] = []
    done: list[Record] = []
    strays = 0
    ours = [(choice, choice.spec) for choice in choices]
    tried = [(choice, choice.spec) for choice in candidates]

    def wanted(slot: Slot, seed: int) -> Iterator[tuple[FitSpec, Choice]]:
        for choice, method in tried if slot.part == "validation" else ours:
            if not slot.scratch_only or choice.installed.method.traits.start == "scratch":
                spec = session.spec(
                    method, (slot.dataset,), seed=seed, percent=slot.percent, part=slot.part
                )
                yield spec, choice

    for seed in seeds:
        fits: list[Task] = []
        found: list[Record] = []
        for slot in protocol.slots:
            for spec, choice in wanted(slot, seed):
                if record := session.home.find(spec):
                    found.append(record)
                else:
                    trainable = choice.trainable_parameters
                    fits.append(
                        Task(spec=spec, installed=choice.installed, trainable_parameters=trainable)
                    )
        foundation = session.foundation_spec(seed)
        needed = protocol.foundation_tests or any(starts_from_foundation(task) for task in fits)
        if record := session.home.find(foundation):
            present = record.counts.adapter_sha256 if record.counts else None
            strays += sum(r.foundation_sha256 not in (None, present) for r in found)
            if needed:
                done.append(record)
        elif needed:
            trainable = parameter_counts.backbone_parameters(session.backbone)
            tasks.append(Task(spec=foundation, installed=None, trainable_parameters=trainable))
        tasks.extend(fits)
        done.extend(found)
    _refuse_other_data(done, session)
    to_make = {}
    if session.track.data.source == "generated":
        for dataset in datasets(tasks):
            if missing := generate.missing(session.data_root, dataset, session.track.data):
                to_make[dataset] = missing
    return Plan(
        tasks=tuple(tasks),
        done=tuple(done),
        datasets_to_make=tuple(to_make),
        records_to_simulate=sum(to_make.values()),
        strays=strays,
    )


def _refuse_other_data(done: Sequence[Record], session: Session) -> None:
    """The record of one folder of real files must not be taken for that of another."""
    for record in done:
        if other := session.other_data(record):
            raise DataError(
                f"{record.spec.title} is recorded with other files of {', '.join(other)} than "
                f"those in {session.data_root}; name the folder of the record with --data, choose "
                f"another --home for these data, or delete {session.home.run(record.spec)} to "
                "have it repeated."
            )


def starts_from_foundation(task: Task) -> bool:
    """Whether the fit needs the pretrained weights of its seed."""
    return task.installed is not None and task.installed.method.traits.start == "foundation"


def datasets(tasks: Sequence[Task]) -> tuple[str, ...]:
    """Every dataset that the tasks train or test on, in a fixed order."""
    seen = (d for task in tasks for d in task.spec.datasets + task.spec.test_datasets)
    return tuple(dict.fromkeys(seen))


def budget_of(task: Task, track: Track) -> Budget:
    """Epochs and batch of the task."""
    return track.pretrain if task.installed is None else track.fit


def epoch_samples(task: Task, track: Track) -> int:
    """How many samples it trains on in an epoch, what a method holds out included."""
    return sum(
        max(SMALLEST_SUBSET, layout.size(name, "train", track.data) * task.spec.percent // 100)
        for name in task.spec.datasets
    )
