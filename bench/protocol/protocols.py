"""The protocols: named, fixed sets of fits, and the test sets that each fit is scored on.

This is the one definition of which cells belong to a protocol; the planner, the counts, the scorer
and the leaderboard all read it.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

from bench.errors import ConfigError, UnknownNameError
from bench.protocol.conditions import CONDITIONS
from bench.protocol.spec import PERCENTS, PRETRAINING, TARGETS, Kind, TestSet


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A training that a protocol asks for, for any method and seed, and its test sets."""

    datasets: tuple[str, ...]
    tests: tuple[TestSet, ...]
    kind: Kind = "adaptation"
    percent: int = 100
    holdout: bool = False
    """One fit for each config of a method's grid, with the validation part held out."""
    scratch_only: bool = False
    """Only for methods that start from scratch: the foundation has seen this dataset."""

    @property
    def training(self) -> tuple[Kind, tuple[str, ...], int, bool, bool]:
        """Key of the training; slots with equal keys share their fits."""
        return self.kind, self.datasets, self.percent, self.holdout, self.scratch_only


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A named set of slots."""

    name: str
    label: str
    """Heading on pages."""
    summary: str
    slots: tuple[Slot, ...]
    grid: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """Options and values that a method tries where a slot has a holdout."""
    own_grids: bool = False
    """Whether a method's own grid takes the place of `grid`."""

    @property
    def cells(self) -> tuple[tuple[Slot, TestSet], ...]:
        """Every slot with each of its test sets."""
        return tuple((slot, test) for slot in self.slots for test in slot.tests)

    @property
    def fits(self) -> tuple[Slot, ...]:
        """The slots that methods are fitted in: neither pretraining nor floors."""
        return tuple(slot for slot in self.slots if slot.kind == "adaptation")

    @property
    def sweeps(self) -> bool:
        """Whether it tries the configs of a grid."""
        return any(slot.holdout for slot in self.slots)

    @property
    def only_sweeps(self) -> bool:
        return all(slot.holdout for slot in self.slots)

    @property
    def scratch_only(self) -> bool:
        """Whether it fits nothing but methods that start from scratch."""
        return all(slot.scratch_only for slot in self.fits)


def others(target: str) -> tuple[str, ...]:
    """The targets that a fit on `target` has not seen."""
    return tuple(t for t in TARGETS if t != target)


def _clean(datasets: Iterable[str]) -> tuple[TestSet, ...]:
    return tuple(TestSet(dataset=dataset) for dataset in datasets)


def _union(*slots: Slot) -> tuple[Slot, ...]:
    """Each training once, with all test sets that any of the slots asks for."""
    merged: dict[object, Slot] = {}
    for slot in slots:
        known = merged.get(slot.training)
        tests = dict.fromkeys((*known.tests, *slot.tests) if known else slot.tests)
        merged[slot.training] = replace(slot, tests=tuple(tests))
    return tuple(merged.values())


def _floors(datasets: Iterable[str]) -> tuple[Slot, ...]:
    """The level to beat on each dataset: its own mean training map."""
    return tuple(Slot(kind="floor", datasets=(d,), tests=_clean((d,))) for d in datasets)


_PRETRAIN = (
    *_floors(PRETRAINING),
    Slot(kind="pretraining", datasets=PRETRAINING, tests=_clean(PRETRAINING)),
    *(Slot(datasets=(d,), scratch_only=True, tests=_clean((d,))) for d in PRETRAINING),
)
_ID = (*_floors(TARGETS), *(Slot(datasets=(t,), tests=_clean((t,))) for t in TARGETS))
_OOD = (*_floors(TARGETS), *(Slot(datasets=(t,), tests=_clean(others(t))) for t in TARGETS))
_LOWDATA = (
    *_floors(TARGETS),
    *(
        Slot(datasets=(t,), percent=p, tests=_clean((t, *others(t))))
        for t in TARGETS
        for p in PERCENTS
    ),
)
_RETENTION = (
    *_floors(PRETRAINING),
    *(Slot(datasets=(t,), tests=_clean(PRETRAINING)) for t in TARGETS),
)
_SHIFT = (
    *_floors(TARGETS),
    *(
        Slot(
            datasets=(t,),
            tests=(
                TestSet(dataset=t),
                *(TestSet(dataset=t, condition=condition.name) for condition in CONDITIONS),
            ),
        )
        for t in TARGETS
    ),
)
_SWEEP = tuple(
    Slot(datasets=(t,), holdout=True, tests=(TestSet(dataset=t, split="validation"),))
    for t in TARGETS
)
_SMOKE = _union(*_PRETRAIN, *_ID, *_OOD, *_LOWDATA, *_RETENTION, *_SHIFT)
LEARNING_RATE_FACTORS = (0.1, 0.3, 1.0, 3.0)
"""What every method is tuned over, and nothing else."""
_LEARNING_RATES: dict[str, tuple[float, ...]] = {"learning_rate_scale": LEARNING_RATE_FACTORS}

_PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="pretrain",
            label="Pretraining",
            summary="The foundation against training from scratch on the six pretraining datasets.",
            slots=_PRETRAIN,
        ),
        Protocol(
            name="id",
            label="In distribution",
            summary="Fit on each target, tested on the same.",
            slots=_ID,
        ),
        Protocol(
            name="ood",
            label="Out of distribution",
            summary="Fit on each target, tested on the three others.",
            slots=_OOD,
        ),
        Protocol(
            name="lowdata",
            label="Low data",
            summary="Fit on 10, 25, 50, 75 and 100 % of each target, tested on all four.",
            slots=_LOWDATA,
        ),
        Protocol(
            name="retention",
            label="Retention",
            summary="Fits on all of each target, tested on the six pretraining datasets.",
            slots=_RETENTION,
        ),
        Protocol(
            name="shift",
            label="Shifted acquisition",
            summary="Fits on all of each target, tested on the same: clean, and under twelve "
            "changes (noise, dead receivers, another source and more).",
            slots=_SHIFT,
        ),
        Protocol(
            name="tuning",
            label="Equal tuning",
            summary="Every method over the same learning-rate factors, on validation data.",
            slots=_SWEEP,
            grid=_LEARNING_RATES,
        ),
        Protocol(
            name="sweep",
            label="Sweeps",
            summary="Every config of a method's own grid, or of learning-rate factors where it has "
            "none, on validation data.",
            slots=_SWEEP,
            grid=_LEARNING_RATES,
            own_grids=True,
        ),
        Protocol(
            name="all",
            label="Everything",
            summary="pretrain, id, ood, lowdata, retention, shift and sweep at once.",
            slots=_union(*_SWEEP, *_SMOKE),
            grid=_LEARNING_RATES,
            own_grids=True,
        ),
        Protocol(
            name="smoke",
            label="Smoke",
            summary="All but sweeps at once, on the tiny track 'smoke'.",
            slots=_SMOKE,
        ),
    )
}


def names() -> tuple[str, ...]:
    return tuple(_PROTOCOLS)


def together(words: Sequence[str]) -> Protocol:
    """Union of the named protocols, each training once: ``["id,ood", "retention"]``.

    Raises `UnknownNameError` for a name that is not a protocol, and `ConfigError` for two that
    search different grids.
    """
    chosen = [get(name) for name in dict.fromkeys(n for w in words for n in w.split(","))]
    if len(chosen) == 1:
        return chosen[0]
    searches = [protocol for protocol in chosen if protocol.sweeps]
    if len(searches) > 1:
        names = " and ".join(protocol.name for protocol in searches)
        raise ConfigError(f"Protocols {names} search different grids; run one after the other.")
    return Protocol(
        name=",".join(protocol.name for protocol in chosen),
        label=", ".join(protocol.label for protocol in chosen),
        summary=" ".join(protocol.summary for protocol in chosen),
        slots=_union(*(slot for protocol in chosen for slot in protocol.slots)),
        grid=searches[0].grid if searches else {},
        own_grids=searches[0].own_grids if searches else False,
    )


def at(protocol: Protocol, percents: Collection[int]) -> Protocol:
    """The part of a protocol that fits on these shares of the training data.

    Raises `ConfigError` for a share on which the protocol fits nothing.
    """
    there = sorted({slot.percent for slot in protocol.fits})
    if absent := sorted(set(percents) - set(there)):
        raise ConfigError(
            f"--percent {absent[0]}: protocol {protocol.name} fits on "
            f"{', '.join(map(str, there))} % of the training data."
        )
    slots = [s for s in protocol.slots if s.kind != "adaptation" or s.percent in percents]
    return replace(protocol, slots=tuple(slots))


def get(name: str) -> Protocol:
    """Look a protocol up by name. Raises `UnknownNameError`."""
    if name not in _PROTOCOLS:
        raise UnknownNameError("protocol", name, _PROTOCOLS)
    return _PROTOCOLS[name]
