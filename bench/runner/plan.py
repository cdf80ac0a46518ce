"""Protocol to jobs: the wanted cells minus the recorded ones."""

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from bench.data import generate, layout, resimulation, subsets
from bench.errors import DataError
from bench.plugins import parameter_counts
from bench.plugins.options import Choice
from bench.protocol import conditions
from bench.protocol.protocols import Protocol, Slot
from bench.protocol.spec import CLEAN, FitSpec, TestSet, Track
from bench.records.record import Record
from bench.runner import evaluation, provenance
from bench.runner.context import RunContext
from bench.runner.jobs import Job


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The jobs of a command, and the recorded fits that it reuses."""

    jobs: tuple[Job, ...]
    """Each after the foundation that it starts from."""
    untrained: frozenset[str] = frozenset()
    """Keys of the jobs whose fits have to be trained; the others are only scored."""
    untouched: frozenset[str] = frozenset()
    """Keys of the jobs whose method trains nothing."""
    done: tuple[Record, ...] = ()
    """Records of the fits that have every cell that is wanted."""
    datasets_to_make: tuple[str, ...] = ()
    records_to_resimulate: dict[TestSet, int] = field(default_factory=dict)
    """Test sets whose records are simulated anew, with the number of records that are missing."""
    records_to_simulate: int = 0
    """Number of records to simulate, with those of `records_to_resimulate`."""
    other_foundation: tuple[Record, ...] = ()
    """Recorded fits that started from another foundation than the one that is there now."""
    other_code: tuple[Record, ...] = ()
    """Recorded fits whose method had other code under the same version."""
    other_backbone_code: tuple[Record, ...] = ()
    """Recorded fits and foundations whose backbone had other code under the same version."""
    trainable_parameters: dict[str, int] = field(default_factory=dict)
    """Trainable parameters by key of the job; 0 where unknown because the method fails."""

    @property
    def foundations(self) -> int:
        """Number of foundations to pretrain."""
        return sum(j.spec.kind == "pretraining" and self.trains(j) for j in self.jobs)

    @property
    def fits(self) -> int:
        """Number of fits to train, without foundations."""
        return sum(j.spec.kind == "adaptation" and self.trains(j) for j in self.jobs)

    def trains(self, job: Job) -> bool:
        """Whether a job trains a network, rather than only scoring one or making a floor."""
        left_alone = job.spec.kind == "floor" or job.key in self.untouched
        return job.key in self.untrained and not left_alone

    @property
    def cells(self) -> int:
        """Number of cells to score, without those of the floors."""
        return sum(len(job.tests) for job in self.jobs if job.spec.kind != "floor")

    @property
    def new_backbone(self) -> bool:
        """Whether the backbone is trained, and no fit or foundation of it is reused."""
        reused = any(record.spec.kind != "floor" for record in self.done)
        return bool(self.foundations or self.fits) and not reused


def plan(
    protocol: Protocol,
    choices: Sequence[Choice],
    seeds: Sequence[int],
    context: RunContext,
    *,
    candidates: Sequence[Choice] = (),
    again: bool = False,
) -> Plan:
    """Plan what a protocol asks of these methods and seeds, minus what is recorded.

    `candidates` are the configs that slots with a holdout try. With `again`, fits that were
    recorded with other code or from another foundation, or whose weights are not those of their
    record, are trained again. Raises `DataError` for
    records of real files with another content than those at hand.
    """
    planner = _Planner(context, again)
    for seed in seeds:
        planner.add_seed(protocol, choices, candidates, seed)
    _refuse_other_data(planner.reused, context)
    return planner.plan()


class _Planner:
    """Gathers jobs, seed by seed."""

    def __init__(self, context: RunContext, again: bool) -> None:
        self._context, self._again = context, again
        self._jobs: list[Job] = []
        self._untrained: set[str] = set()
        self._untouched: set[str] = set()
        self._trainable: dict[str, int] = {}
        self._done: list[Record] = []
        self._other_foundation: list[Record] = []
        self._other_code: list[Record] = []
        self._other_backbone_code: list[Record] = []

    @property
    def reused(self) -> list[Record]:
        """Records that are used as they are."""
        return [*self._done, *self._other_foundation]

    def add_seed(
        self,
        protocol: Protocol,
        choices: Sequence[Choice],
        candidates: Sequence[Choice],
        seed: int,
    ) -> None:
        for slot in protocol.slots:
            if slot.kind == "floor":
                self._add_floor(slot)
        foundation = self._context.foundation_spec(seed)
        recorded = self._context.workspace.trained(foundation)
        sha256 = recorded.counts.adapter_sha256 if recorded and recorded.counts else None
        before = len(self._jobs)
        needed = False
        for slot in protocol.fits:
            for choice in candidates if slot.holdout else choices:
                if not slot.scratch_only or _from_scratch(choice):
                    fit = self._spec(slot, choice, seed)
                    added = self._add_fit(fit, slot.tests, choice, sha256)
                    needed |= added and not _from_scratch(choice)
        tests = tuple(t for s in protocol.slots if s.kind == "pretraining" for t in s.tests)
        if needed or tests:
            self._add_foundation(foundation, recorded, tests, place=before)

    def _spec(self, slot: Slot, choice: Choice, seed: int) -> FitSpec:
        return self._context.fit_spec(
            choice.spec, slot.datasets, seed=seed, percent=slot.percent, holdout=slot.holdout
        )

    def _add_fit(
        self, fit: FitSpec, tests: tuple[TestSet, ...], choice: Choice, foundation: str | None
    ) -> bool:
        """Add the job of a fit if there is anything to do; returns whether there is."""
        record = self._context.workspace.trained(fit)
        other_start = record is not None and record.foundation_sha256 not in (None, foundation)
        changed = record is not None and provenance.other_code(record, choice.installed)
        if record and changed and not self._again:
            self._other_code.append(record)
        self._note_backbone(record)
        if record and other_start and not self._again and foundation is not None:
            self._other_foundation.append(record)
            return False
        repeat = (
            record is not None and self._again and (other_start or changed or self._damaged(record))
        )
        if record is None or repeat:
            self._untrained.add(fit.run_id)
            wanted = tests
        else:
            wanted = evaluation.missing(record, tests)
        if record and record.status == "done" and not repeat and not wanted:
            self._done.append(record)
            return False
        if not choice.installed.method.traits.trains:
            self._untouched.add(fit.run_id)
        self._trainable[fit.run_id] = choice.trainable_parameters
        self._jobs.append(self._job(fit, wanted, again=repeat))
        return True

    def _add_floor(self, slot: Slot) -> None:
        """The floors do not depend on the seed: each is added once."""
        (dataset,) = slot.datasets
        fit = self._context.floor_spec(dataset)
        if any(job.key == fit.run_id for job in self._jobs):
            return
        record = self._context.workspace.trained(fit)
        repeat = record is not None and self._again and self._damaged(record)
        wanted = evaluation.missing(record, slot.tests) if record and not repeat else slot.tests
        if record is None or repeat:
            self._untrained.add(fit.run_id)
        elif record.status == "done" and not wanted:
            if record.run_id not in {done.run_id for done in self._done}:
                self._done.append(record)
            return
        self._trainable[fit.run_id] = 0
        self._jobs.append(self._job(fit, wanted, again=repeat))

    def _add_foundation(
        self, fit: FitSpec, record: Record | None, tests: tuple[TestSet, ...], *, place: int
    ) -> None:
        self._note_backbone(record)
        wanted = evaluation.missing(record, tests) if record else tests
        if record is None:
            self._untrained.add(fit.run_id)
        elif not wanted:
            self._done.append(record)
            return
        count = parameter_counts.backbone_parameters(fit.backbone.name)
        self._trainable[fit.run_id] = count
        self._jobs.insert(place, self._job(fit, wanted))

    def _damaged(self, record: Record) -> bool:
        return evaluation.damaged(record, self._context.workspace)

    def _note_backbone(self, record: Record | None) -> None:
        if record is not None and provenance.other_backbone_code(record):
            self._other_backbone_code.append(record)

    def _job(self, fit: FitSpec, tests: tuple[TestSet, ...], *, again: bool = False) -> Job:
        seen = self._context.workspace.changed(fit)
        return Job(track=self._context.track, spec=fit, tests=tests, again=again, seen=seen)

    def plan(self) -> Plan:
        to_make = {}
        track = self._context.track
        if track.data.source == "generated":
            for dataset in datasets(self._jobs, self._untrained):
                if lacking := generate.missing(self._context.data_root, dataset, track.data):
                    to_make[dataset] = lacking
        resimulated = to_resimulate(self._jobs, to_make, self._context)
        return Plan(
            jobs=tuple(self._jobs),
            untrained=frozenset(self._untrained),
            untouched=frozenset(self._untouched),
            done=tuple(self._done),
            datasets_to_make=tuple(to_make),
            records_to_resimulate=resimulated,
            records_to_simulate=sum(to_make.values()) + sum(resimulated.values()),
            other_foundation=tuple(self._other_foundation),
            other_code=tuple(self._other_code),
            other_backbone_code=tuple(self._other_backbone_code),
            trainable_parameters=self._trainable,
        )


def to_resimulate(
    jobs: Iterable[Job], to_make: Container[str], context: RunContext
) -> dict[TestSet, int]:
    """Number of missing records of each test set whose records are simulated anew.

    `to_make`: datasets that are still to be generated.
    """
    missing = {}
    for test in dict.fromkeys(test for job in jobs for test in job.tests):
        if test.condition == CLEAN or not conditions.get(test.condition).resimulated:
            continue
        pairs = layout.files(test.dataset, "test", context.track.data)
        if test.dataset in to_make:  # their content, which names the folder, is not known yet
            lacking = sum(pair.samples for pair in pairs)
        else:
            condition = conditions.get(test.condition)
            lacking = resimulation.missing(context.condition_folder(test.dataset, condition), pairs)
        if lacking:
            missing[test] = lacking
    return missing


def _from_scratch(choice: Choice) -> bool:
    return choice.installed.method.traits.start == "scratch"


def _refuse_other_data(records: Sequence[Record], context: RunContext) -> None:
    """The record of one folder of real files must not be taken for that of another."""
    for record in records:
        if other := context.other_data(record):
            raise DataError(
                f"{record.spec.title} is recorded with other files of {', '.join(other)} than "
                f"those in {context.data_root}; name the folder of the record with --data, or "
                "choose another --home for these data."
            )


def datasets(jobs: Iterable[Job], untrained: frozenset[str] | set[str]) -> tuple[str, ...]:
    """Every dataset that the jobs train or test on, in a fixed order."""

    def seen() -> Iterator[str]:
        for job in jobs:
            if job.key in untrained:
                yield from job.spec.datasets
            yield from (test.dataset for test in job.tests)

    return tuple(dict.fromkeys(seen()))


def epoch_samples(spec: FitSpec, track: Track) -> int:
    """Number of samples a fit trains on in an epoch, including its validation part."""
    return sum(
        subsets.size(layout.size(name, "train", track.data), spec.percent) for name in spec.datasets
    )
