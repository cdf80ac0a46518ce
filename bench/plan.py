"""Protocol → fits not yet recorded, and what they need."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench import census, generate
from bench.contract import Config
from bench.protocols import Protocol
from bench.record import Record
from bench.registry import Installed
from bench.session import Session
from bench.spec import FitSpec, MethodSpec


@dataclass(frozen=True, kw_only=True)
class Task:
    """A fit to train; `installed` None is the pretraining of a foundation."""

    spec: FitSpec
    installed: Installed | None
    trainable_parameters: int


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A method with its config, chosen for a run."""

    installed: Installed
    config: Config

    @property
    def spec(self) -> MethodSpec:
        method = self.installed.method
        return MethodSpec(
            name=method.name,
            distribution=self.installed.distribution,
            version=method.version,
            code=self.installed.code,
            config=self.config.model_dump(mode="json"),
        )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a command has to do, and what it finds done."""

    tasks: tuple[Task, ...]
    """Fits to train, each after the foundation it starts from."""
    done: tuple[Record, ...]
    """Records of the fits that need not be repeated."""
    datasets_to_make: tuple[str, ...]
    records_to_simulate: int

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
    protocol: Protocol, choices: Sequence[Choice], seeds: Sequence[int], session: Session
) -> Plan:
    """Everything that a protocol asks of these methods and seeds, less what is recorded.

    Raises `ConfigError` for a config that the network cannot take.
    """
    tasks: list[Task] = []
    done: list[Record] = []
    counted: dict[str, int] = {}

    def need(spec: FitSpec, choice: Choice | None) -> Iterator[Task]:
        if found := session.home.find(spec):
            done.append(found)
            return
        if choice is None:
            trainable = census.backbone_parameters(session.backbone)
        else:
            method = choice.installed.method
            if method.name not in counted:
                counts = census.count(method, choice.config, session.backbone)
                counted[method.name] = counts.trainable
            trainable = counted[method.name]
        installed = choice.installed if choice else None
        yield Task(spec=spec, installed=installed, trainable_parameters=trainable)

    for seed in seeds:
        fits = [
            task
            for slot in protocol.slots
            for choice in choices
            if not slot.scratch_only or choice.installed.method.traits.start == "scratch"
            for task in need(
                session.spec(choice.spec, (slot.dataset,), seed=seed, percent=slot.percent),
                choice,
            )
        ]
        if protocol.foundation_tests or any(starts_from_foundation(task) for task in fits):
            tasks.extend(need(session.foundation_spec(seed), None))
        tasks.extend(fits)
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
    )


def starts_from_foundation(task: Task) -> bool:
    """Whether the fit needs the pretrained weights of its seed."""
    return task.installed is not None and task.installed.method.traits.start == "foundation"


def datasets(tasks: Sequence[Task]) -> tuple[str, ...]:
    """Every dataset that the tasks train or test on, in a fixed order."""
    seen = (d for task in tasks for d in task.spec.datasets + task.spec.test_datasets)
    return tuple(dict.fromkeys(seen))
