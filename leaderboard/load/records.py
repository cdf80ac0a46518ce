"""Discovery of records, the boards they belong to, and what is wrong with them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.protocol.spec import digest
from bench.records.record import FILE, Record

Origin = Literal["published", "local"]
Place = tuple[Origin, Path]
"""Where a record comes from, and its file."""

PUBLISHED = Path(__file__).parents[1] / "records"
"""Published records: in a checkout. They are not part of the installed package."""


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


def walk(sources: Sequence[Path], published: Path | None = None) -> Iterator[Place]:
    """Paths of all records, published ones first, in a fixed order.

    Those in the folder `published`, or of the checkout.
    """
    for path in sorted((published or PUBLISHED).glob(f"**/{FILE}")):
        yield "published", path
    for source in sources:
        for kind in ("foundations", "runs"):
            for path in sorted((source / kind).glob(f"*/{FILE}")):
                yield "local", path
