"""The protocols: named, fixed sets of fits and the cells they are scored on."""

from dataclasses import dataclass

from bench.errors import UnknownNameError
from bench.protocol.spec import PERCENTS, PRETRAINING, TARGETS, Part


@dataclass(frozen=True, kw_only=True)
class Slot:
    """One training that a protocol asks of each method."""

    dataset: str
    percent: int = 100
    part: Part = "test"
    """``validation``: one fit for each config of the method's grid, scored on held-out training
    data; ``test``: the chosen config."""
    scratch_only: bool = False
    """Only for methods that start from scratch: the foundation has seen this dataset."""
    tests: tuple[str, ...]
    """Datasets whose cells belong to the protocol."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A named set of slots; `foundation_tests` are the foundation's own cells."""

    name: str
    summary: str
    slots: tuple[Slot, ...]
    foundation_tests: tuple[str, ...] = ()

    @property
    def sweeps(self) -> bool:
        """Whether it tries the configs of a grid."""
        return any(slot.part == "validation" for slot in self.slots)

    @property
    def only_sweeps(self) -> bool:
        return all(slot.part == "validation" for slot in self.slots)

    @property
    def scratch_only(self) -> bool:
        """Whether it fits nothing but methods that start from scratch."""
        return all(slot.scratch_only for slot in self.slots)


def _others(target: str) -> tuple[str, ...]:
    return tuple(t for t in TARGETS if t != target)


_ID = tuple(Slot(dataset=t, tests=(t,)) for t in TARGETS)
_OOD = tuple(Slot(dataset=t, tests=_others(t)) for t in TARGETS)
_LOWDATA = tuple(Slot(dataset=t, percent=p, tests=TARGETS) for t in TARGETS for p in PERCENTS)
_PRETRAIN = tuple(Slot(dataset=d, scratch_only=True, tests=(d,)) for d in PRETRAINING)
_SWEEP = tuple(Slot(dataset=t, part="validation", tests=(t,)) for t in TARGETS)
_EVERYTHING = _PRETRAIN + _LOWDATA

_PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="pretrain",
            summary="The foundation against training from scratch on the six pretraining datasets.",
            slots=_PRETRAIN,
            foundation_tests=PRETRAINING,
        ),
        Protocol(
            name="id",
            summary="In distribution: fit on each target, test on the same.",
            slots=_ID,
        ),
        Protocol(
            name="ood",
            summary="Out of distribution: fit on each target, test on the three others.",
            slots=_OOD,
        ),
        Protocol(
            name="lowdata",
            summary="Fit on 10, 25, 50, 75 and 100 % of each target, test on all four.",
            slots=_LOWDATA,
        ),
        Protocol(
            name="sweep",
            summary="Every config of a method's grid on each target, scored on validation data.",
            slots=_SWEEP,
        ),
        Protocol(
            name="all",
            summary="pretrain, id, ood, lowdata and sweep at once.",
            slots=_SWEEP + _EVERYTHING,
            foundation_tests=PRETRAINING,
        ),
        Protocol(
            name="smoke",
            summary="pretrain, id, ood and lowdata at once, on the tiny track 'smoke'.",
            slots=_EVERYTHING,
            foundation_tests=PRETRAINING,
        ),
    )
}


def names() -> tuple[str, ...]:
    return tuple(_PROTOCOLS)


def get(name: str) -> Protocol:
    """Raises `UnknownNameError` for a name that is not a protocol."""
    if name not in _PROTOCOLS:
        raise UnknownNameError("protocol", name, _PROTOCOLS)
    return _PROTOCOLS[name]
