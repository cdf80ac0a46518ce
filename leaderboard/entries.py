"""Sources of records → entries: what the pages keep of each record, and what was left out."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.errors import RecordError
from bench.protocol.columns import COSTS
from bench.protocol.spec import MethodSpec, Rules, Track, digest
from bench.records.record import FILE, Cell, MethodCard, Phase, Record, read

Origin = Literal["published", "local"]

PUBLISHED = Path(__file__).parent / "records"
"""Records that come with the package."""
FOUNDATION = "foundation"
_RUN_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Problem:
    """A record or file that is not shown, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True, order=True)
class BoardKey:
    """Records share a table only if all three agree."""

    track: str
    backbone: str
    fingerprint: str

    @property
    def slug(self) -> str:
        """Safe as a file name whatever the record says."""
        return f"{slug(self.track)}-{slug(self.backbone)}-{slug(self.fingerprint)[:8]}"


UNKNOWN = MethodCard(category="other", summary="", source="", start="unknown")
"""For a record whose harness did not ask the plugin."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One record without its bulk; `folder` has the whole."""

    run_id: str
    origin: Origin
    folder: Path
    board: BoardKey
    variant: str
    method: MethodSpec | None
    distribution_version: str | None
    card: MethodCard
    title: str
    datasets: tuple[str, ...]
    percent: int
    seed: int
    part: str
    status: str
    error: str | None
    cells: dict[str, Cell]
    costs: dict[str, float | None]
    machine: str
    verification: str
    configs_tried: int
    started: str

    @property
    def name(self) -> str:
        return self.method.name if self.method else FOUNDATION


def slug(text: str) -> str:
    """Letters, digits, ``_`` and ``-`` of a text that may hold anything; a hash if none is left."""
    kept = re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-")[:60]
    return kept if kept and kept == text else f"{kept or 'x'}-{digest(text)[:6]}"


def variant_of(method: MethodSpec | None) -> str:
    """Two fits are of the same method if name, package, version, code and config agree."""
    return digest(method.model_dump(mode="json")) if method else FOUNDATION


def walk(sources: Sequence[Path]) -> Iterator[tuple[Origin, Path]]:
    """Paths of all records, published ones first, in a fixed order."""
    for path in sorted(PUBLISHED.glob(f"**/{FILE}")):
        yield "published", path
    for source in sources:
        for kind in ("foundations", "runs"):
            for path in sorted((source / kind).glob(f"*/{FILE}")):
                yield "local", path


class Gate:
    """Lets each record through once, if it is what it says it is."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._protocols: dict[str, tuple[Track, Rules, str]] = {}

    def admit(self, path: Path) -> Record | Problem | None:
        """The record; or what is wrong with it; None for a second copy of the same run."""
        try:
            record = read(path)
        except RecordError as error:
            return Problem(path, str(error))
        if not _RUN_ID.fullmatch(record.run_id) or record.run_id != record.spec.run_id:
            return Problem(
                path,
                f"Its run id {record.run_id[:40]!r} is not the hash of its specification: "
                "the record was edited or written by another program.",
            )
        spec = record.spec
        claim = (record.track, record.rules, spec.backbone)
        known = self._protocols.setdefault(spec.fingerprint, claim)
        if known != claim or record.track.name != spec.track:
            return Problem(
                path,
                f"Its fingerprint {spec.fingerprint[:40]!r} belongs to another protocol: "
                "its track or rules differ from those of the other records that carry it.",
            )
        if record.run_id in self._seen:
            return None
        self._seen.add(record.run_id)
        return record


def entry_of(record: Record, origin: Origin, folder: Path) -> Entry:
    """What the boards need of a record."""
    spec = record.spec
    return Entry(
        run_id=record.run_id,
        origin=origin,
        folder=folder,
        board=BoardKey(spec.track, spec.backbone, spec.fingerprint),
        variant=variant_of(spec.method),
        method=spec.method,
        distribution_version=record.method_distribution_version,
        card=record.method_card or UNKNOWN,
        title=spec.title,
        datasets=spec.datasets,
        percent=spec.percent,
        seed=spec.seed,
        part=spec.part,
        status=record.status,
        error=record.error,
        cells={cell.dataset: cell for cell in record.cells if cell.part == spec.part},
        costs=costs(record),
        machine=machine(record),
        verification=record.verification,
        configs_tried=record.configs_tried,
        started=record.started.strftime("%Y-%m-%d"),
    )


def costs(record: Record) -> dict[str, float | None]:
    """Every cost column by name; None where unknown."""
    counts, train = record.counts, record.train
    values: dict[str, float | None] = dict.fromkeys(column.name for column in COSTS)
    if counts:
        values |= {
            "trainable_parameters": counts.trainable_parameters,
            "adapter_bytes": counts.adapter_bytes,
            "optimiser_bytes": counts.optimiser_bytes,
            "saved_bytes_per_sample": counts.saved_bytes_per_sample,
            "flops_per_sample": counts.flops_per_sample,
        }
    if train:
        values |= {
            "peak_bytes": peak_bytes(train),
            "samples_per_second": train.samples_per_second,
            "train_seconds": train.seconds,
        }
    return values


def peak_bytes(phase: Phase) -> int | None:
    """Peak above what lay in memory before: on the device for a GPU, resident for a CPU."""
    peak = phase.peak_allocated_bytes or phase.peak_resident_bytes
    if peak is None or phase.baseline_bytes is None:
        return None
    return max(peak - phase.baseline_bytes, 0)


def machine(record: Record) -> str:
    """Timings are comparable within one of these only."""
    m = record.machine
    device = record.determinism.device
    name = m.gpu if m.gpu and device != "cpu" else f"{m.processor}, {m.cores} cores"
    return name if record.determinism.frugal else f"{name}, stock layers"
