"""Speed and memory of the methods' training loops, from measurements of `bench speed` alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import polars as pl

from bench.protocol.spec import MethodSpec, digest
from bench.records.measurement import Loop, Measurement
from leaderboard.load.measurements import Measured
from leaderboard.load.results import network
from leaderboard.tables import text
from leaderboard.tables.boards import Board
from leaderboard.tables.variants import Variant


@dataclass(frozen=True, slots=True)
class Range:
    """A number of the median turn, and the least and most of any turn."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """One training loop on one machine."""

    per_second: Range
    """Samples a second."""
    times_reference: Range
    """As fast as the reference loop of the same measurement."""
    saved_bytes_per_sample: float
    saved_times_reference: float | None
    peak_bytes: int
    peak_times_reference: float | None
    prefix_bytes: int
    """Of a sample's kept activations, where steps begin at them; else 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedRow:
    """A method in all measurements; None where it was not measured."""

    name: str
    variant: Variant | None
    """None for a method that the board has no runs of."""
    speeds: tuple[Speed | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The measurements of a board's network."""

    measured: tuple[Measured, ...]
    rows: tuple[SpeedRow, ...]
    reference: tuple[Speed, ...]
    """The reference loop itself."""

    def of(self, key: str) -> list[tuple[Measured, Speed]]:
        """The speeds of the method with this key, each with its measurement."""
        row = next((r for r in self.rows if r.variant and r.variant.key == key), None)
        speeds = row.speeds if row else ()
        return [(m, s) for m, s in zip(self.measured, speeds, strict=False) if s]


def measured_on(board: Board, measured: Sequence[Measured]) -> list[Measured]:
    """The measurements of the board's network."""
    return [m for m in measured if network(m.content.backbone) == board.network]


def table(board: Board, variants: Sequence[Variant], measured: Sequence[Measured]) -> Table | None:
    """Speeds of these methods in this order, then of others that were measured on the network.

    None where nothing was measured on it. Methods without trained parameters have no row unless
    they were measured.
    """
    own = measured_on(board, measured)
    if not own:
        return None
    found = [_speeds(m.content) for m in own]
    timed = {key: spec for speeds in found for key, (spec, _) in speeds.items()}
    named = {v.key: v for v in variants}
    keys = [v.key for v in variants if v.key in timed or _trains(board, v)]
    keys += sorted((k for k in timed if k not in named), key=lambda k: (timed[k].name, k))
    rows = []
    for key in keys:
        variant = named.get(key)
        rows.append(
            SpeedRow(
                name=variant.title if variant else text.method(timed[key].name),
                variant=variant,
                speeds=tuple(s[key][1] if key in s else None for s in found),
            )
        )
    return Table(
        measured=tuple(own),
        rows=tuple(rows),
        reference=tuple(speed(m.content.reference, m.content.reference) for m in own),
    )


def _trains(board: Board, variant: Variant) -> bool:
    counts = board.fits.filter(pl.col("variant") == variant.key)["trainable_parameters"]
    return bool((counts.fill_null(1) > 0).any())


def _speeds(content: Measurement) -> dict[str, tuple[MethodSpec, Speed]]:
    """By the key that the method has on a board."""
    return {
        digest(loop.method.model_dump()): (loop.method, speed(loop, content.reference))
        for loop in content.methods
    }


def speed(loop: Loop, reference: Loop) -> Speed:
    """Speed and memory of a loop, and the same relative to the reference loop.

    The ratio is that of the medians; its range is that of the ratios turn by turn, for the loops
    took turns and what slowed the machine down slowed both. It contains the ratio.
    """
    rates = [loop.samples / s for s in loop.seconds]
    plain = [reference.samples / s for s in reference.seconds]
    ratios = [ours / theirs for ours, theirs in zip(rates, plain, strict=True)]
    middle = loop.samples / median(loop.seconds)
    return Speed(
        per_second=Range(middle, min(rates), max(rates)),
        times_reference=Range(
            middle * median(reference.seconds) / reference.samples, min(ratios), max(ratios)
        ),
        saved_bytes_per_sample=loop.saved_bytes_per_sample,
        saved_times_reference=_times(loop.saved_bytes_per_sample, reference.saved_bytes_per_sample),
        peak_bytes=loop.peak_bytes,
        peak_times_reference=_times(loop.peak_bytes, reference.peak_bytes),
        prefix_bytes=loop.prefix_bytes_per_sample,
    )


def _times(ours: float, theirs: float) -> float | None:
    return ours / theirs if theirs else None
