"""Discovery and validation of records; whatever is wrong becomes a problem."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.errors import RecordError
from bench.protocol import fingerprint
from bench.protocol.spec import digest
from bench.records.reader import read
from bench.records.record import FILE, Record

Origin = Literal["published", "local"]

PUBLISHED = Path(__file__).parents[1] / "records"
"""Published records: in a checkout. They are not part of the installed package."""
LARGEST_RECORD_BYTES = 4_000_000
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
        """File name of the board, safe whatever the record says."""
        return f"{slug(self.track)}-{slug(self.backbone)}-{slug(self.fingerprint)[:8]}"


def slug(text: str) -> str:
    """Letters, digits, ``_`` and ``-`` of a text that may hold anything; a hash if none is left."""
    kept = re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-")[:60]
    return kept if kept and kept == text else f"{kept or 'x'}-{digest(text)[:6]}"


def board_key(record: Record) -> BoardKey:
    """The board that a record belongs to."""
    spec = record.spec
    return BoardKey(spec.track, spec.backbone.name, spec.fingerprint)


def walk(sources: Sequence[Path]) -> Iterator[tuple[Origin, Path]]:
    """Paths of all records, published ones first, in a fixed order."""
    for path in sorted(PUBLISHED.glob(f"**/{FILE}")):
        yield "published", path
    for source in sources:
        for kind in ("foundations", "runs"):
            for path in sorted((source / kind).glob(f"*/{FILE}")):
                yield "local", path


class Gate:
    """Validation of records: admits each valid record once."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._fingerprints: dict[str, str] = {}

    def admit(self, path: Path) -> Record | Problem | None:
        """The record; or what is wrong with it; None for a second copy of the same run."""
        if reason := irregular(path, LARGEST_RECORD_BYTES):
            return Problem(path, reason)
        try:
            record = read(path)
        except RecordError as error:
            return Problem(path, str(error))
        if reason := self._disagreement(path, record):
            return Problem(path, reason)
        if record.run_id in self._seen:
            return None
        self._seen.add(record.run_id)
        return record

    def _disagreement(self, path: Path, record: Record) -> str | None:
        spec = record.spec
        if not _RUN_ID.fullmatch(record.run_id) or record.run_id != spec.run_id:
            return (
                f"Its run id {record.run_id[:40]!r} is not the hash of its specification: "
                "the record was edited or written by another program."
            )
        if path.parent.name not in (record.run_id, record.former_id):
            return f"Its folder is not named after its run id {record.run_id}."
        if record.track.name != spec.track or self._fingerprint(record) != spec.fingerprint:
            return (
                f"Its fingerprint {spec.fingerprint[:40]!r} is not that of its own track and "
                "rules: the record was edited or written by another program."
            )
        return None

    def _fingerprint(self, record: Record) -> str:
        """Fingerprint computed from the record's own rules, once for all that share them."""
        parts = (record.track, record.spec.backbone, record.rules, record.simulation)
        key = digest([part.model_dump(mode="json") if part else None for part in parts])
        if key not in self._fingerprints:
            self._fingerprints[key] = fingerprint.recorded(*parts)
        return self._fingerprints[key]


def irregular(path: Path, most_bytes: int) -> str | None:
    """Reason why a file is not read at all; None for a regular file of acceptable size.

    Links are not followed: one may point to a file that is nobody's business, or to a device.
    """
    if path.is_symlink() or path.parent.is_symlink():
        return "It is a symbolic link; links are not followed."
    if not path.is_file():
        return "It is not a regular file."
    size = path.stat().st_size
    if size > most_bytes:
        return f"It has {size:,} bytes; at most {most_bytes:,} are read."
    return None
