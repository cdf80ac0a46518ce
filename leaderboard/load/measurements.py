"""Measurements of `bench speed`: the published ones, and those in the folder `speed` of a home."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import RecordError
from bench.protocol.spec import digest
from bench.records import measurement
from bench.records.measurement import FOLDER, Measurement
from leaderboard.load import records
from leaderboard.load.records import Origin, Problem
from leaderboard.load.results import machine


@dataclass(frozen=True, slots=True)
class Measured:
    """A valid measurement, and where it comes from."""

    origin: Origin
    path: Path
    content: Measurement

    @property
    def machine(self) -> str:
        return machine(self.content.execution)

    @property
    def file(self) -> str:
        """Path of its copy in the site."""
        return f"data/speed-{digest(self.content.model_dump(mode='json'))}.json"


def read(
    sources: Sequence[Path], published: Path | None = None
) -> tuple[list[Measured], list[Problem]]:
    """The valid measurements, each once and the newest first, and what is wrong with the others.

    Of these homes and the published records: of the folder `published`, or of the checkout.
    """
    folders: list[tuple[Origin, Path]] = [("published", published or records.PUBLISHED)]
    folders += [("local", source) for source in sources]
    known: dict[str, Measured] = {}
    problems = []
    for origin, folder in folders:
        for path in sorted((folder / FOLDER).glob("*.json")):
            try:
                content = measurement.read(path)
            except RecordError as error:
                problems.append(Problem(path, str(error).removeprefix(f"{path}: ")))
            else:
                known.setdefault(content.model_dump_json(), Measured(origin, path, content))
    newest = sorted(known.values(), key=lambda m: m.path.name)
    newest.sort(key=lambda m: m.content.execution.started, reverse=True)
    return newest, problems
