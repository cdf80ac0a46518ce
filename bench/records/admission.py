"""Admission of records that come from outside: what is read at all, and what must agree in it."""

import re
from pathlib import Path

from bench.errors import RecordError
from bench.files import irregular
from bench.protocol import fingerprint
from bench.records.reader import read
from bench.records.record import Record

LARGEST_RECORD_BYTES = 4_000_000
_RUN_ID = re.compile(r"[0-9a-f]{16}")


class Admission:
    """Reader of records that checks them; it remembers a fingerprint, which many of them share."""

    def __init__(self) -> None:
        self._known: tuple[tuple[object, ...], str] = (), ""

    def read(self, path: Path) -> Record:
        """The record in a file.

        Raises `RecordError` for a file that is not regular or too large, a record that is not
        valid, one whose id is not the hash of its specification or not the name of its folder, and
        one whose fingerprint is not that of its own track and rules.
        """
        if reason := irregular(path, LARGEST_RECORD_BYTES):
            raise RecordError(f"{path}: {reason}")
        record = read(path)
        if reason := self._disagreement(path, record):
            raise RecordError(f"{path}: {reason}")
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
        """Fingerprint computed from the record's own rules, once for those in a row that agree."""
        parts = (record.track, record.spec.backbone, record.rules, record.simulation)
        if parts != self._known[0]:
            self._known = parts, fingerprint.recorded(*parts)
        return self._known[1]
