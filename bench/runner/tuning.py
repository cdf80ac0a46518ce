"""How many configs of a method a home has tried on validation data."""

from pathlib import Path

from bench.errors import RecordError
from bench.protocol.spec import FitSpec, canonical
from bench.records.record import read
from bench.runner.workspace import Home

Owner = tuple[str, str, str]
"""Fingerprint, and the method's package and name."""


class Tried:
    """Counts configs; reads each record of the home once."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._seen: set[Path] = set()
        self._configs: dict[Owner, set[str]] = {}

    def count(self, spec: FitSpec) -> int:
        """Configs tried to find that of `spec`, its own included: 1 without a sweep.

        A fit of a sweep is one try itself.
        """
        if spec.method is None or spec.part == "validation":
            return 1
        for path in self._home.records():
            if path not in self._seen:
                self._note(path)
        own = canonical(spec.method.config)
        return len(self._configs.get(_owner(spec), set()) | {own})

    def _note(self, path: Path) -> None:
        try:
            record = read(path)
        except RecordError:
            return
        if record.spec.part == "validation" and record.spec.method and record.status == "done":
            configs = self._configs.setdefault(_owner(record.spec), set())
            configs.add(canonical(record.spec.method.config))
        if record.status == "done":  # others may still become so
            self._seen.add(path)


def _owner(spec: FitSpec) -> Owner:
    assert spec.method is not None
    return spec.fingerprint, spec.method.distribution, spec.method.name
