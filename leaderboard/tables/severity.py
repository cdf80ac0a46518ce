"""Accuracy under a changed acquisition against how strong the change is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.protocol import protocols
from bench.protocol.conditions import CONDITIONS, Condition
from bench.protocol.protocols import Protocol
from bench.protocol.spec import CLEAN
from bench.protocol.survey import CELL_METRES, PEAK_FREQUENCY_HZ, RECEIVERS, SHOTS
from bench.seismic import metrics
from leaderboard.stats.estimates import Estimate
from leaderboard.tables import values
from leaderboard.tables.boards import Board
from leaderboard.tables.pairs import common_seeds
from leaderboard.tables.variants import Variant

Estimates = dict[str, Estimate]
"""MAE with its interval, by variant key."""


@dataclass(frozen=True, slots=True)
class Step:
    """The clean records or one condition."""

    tick: str
    errors: Estimates


@dataclass(frozen=True, slots=True)
class Series:
    """Conditions that differ in severity only, in their order, the clean records among them."""

    name: str
    axis: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class ErrorsUnderShift:
    """MAE of every method under every condition, over the seeds that all of them share."""

    variants: tuple[Variant, ...]
    seeds: tuple[int, ...]
    errors: dict[str, Estimates]
    """By condition."""

    @property
    def series(self) -> tuple[Series, ...]:
        """A series for each group of conditions, in the order of `CONDITIONS`."""
        groups = dict.fromkeys(c.group for c in CONDITIONS)
        return tuple(self._series([c for c in CONDITIONS if c.group == name]) for name in groups)

    @property
    def by_label(self) -> dict[str, Estimates]:
        """The errors by the label of the condition."""
        labels = {CLEAN: CLEAN} | {c.name: c.label for c in CONDITIONS}
        return {labels[name]: found for name, found in self.errors.items()}

    def _series(self, conditions: Sequence[Condition]) -> Series:
        places = [(_severity(c)[0], _severity(c)[2], c.name) for c in conditions]
        places.append((_clean(conditions[0]), "clean", CLEAN))
        steps = tuple(Step(tick, self.errors[name]) for _, tick, name in sorted(places))
        return Series(conditions[0].group, _severity(conditions[0])[1], steps)


def of(board: Board) -> ErrorsUnderShift | None:
    """The board's methods that were tested under all conditions; None without such scores."""
    protocol = protocols.get("shift")
    variants, seeds = common_seeds(board, protocol)
    errors = {}
    for name in (CLEAN, *(c.name for c in CONDITIONS)):
        found = values.scores(board, variants, _only(protocol, name), seeds, metrics.METRICS[0])
        if found is None:
            return None
        keys = [v.key for v in variants]
        errors[name] = dict(zip(keys, found.moments().estimates(), strict=True))
    return ErrorsUnderShift(tuple(variants), seeds, errors)


def _only(protocol: Protocol, condition: str) -> Protocol:
    """The cells of a protocol that are tested under one condition."""
    slots = (
        replace(slot, tests=tuple(test for test in slot.tests if test.condition == condition))
        for slot in protocol.slots
    )
    return Protocol(name=f"{protocol.name}-{condition}", label="", summary="", slots=tuple(slots))


def _severity(c: Condition) -> tuple[float, str, str]:
    """Place on the axis, the label of the axis, and the tick, of the one setting that is given."""
    if c.noise_db is not None:
        return -c.noise_db, "signal-to-noise ratio", f"{c.noise_db:g} dB"
    if c.source_hz is not None:
        return c.source_hz, "peak frequency of the source", f"{c.source_hz:g} Hz"
    if c.dead_receivers:
        return c.dead_receivers, "receivers dead", f"{100 * c.dead_receivers / RECEIVERS:.0f} %"
    if c.dead_shots:
        return c.dead_shots, "shots missing", f"{c.dead_shots} of {SHOTS}"
    if c.static_seconds:
        return c.static_seconds, "static shift", f"± {1000 * c.static_seconds:g} ms"
    if c.displaced_cells:
        metres = c.displaced_cells * CELL_METRES
        return metres, "displacement of receivers", f"{metres:g} m"
    assert c.gain != 1.0, f"condition '{c.name}' has no axis here"
    return c.gain, "factor on amplitudes", f"× {c.gain:g}"


def _clean(c: Condition) -> float:
    """Place of the clean records on the axis of this condition's group."""
    if c.noise_db is not None:
        return -math.inf
    if c.source_hz is not None:
        return PEAK_FREQUENCY_HZ
    return 1.0 if c.gain != 1.0 else 0.0
