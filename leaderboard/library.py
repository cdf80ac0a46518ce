"""Homes and published records → boards, a chunk of records at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from bench.record import Record
from bench.spec import Rules, Track
from leaderboard import samples
from leaderboard.boards import Board, gather
from leaderboard.entries import BoardKey, Entry, Gate, Problem, entry_of, walk
from leaderboard.samples import Scores

_CHUNK = 256
"""Whole records in memory at once."""


@dataclass
class Library:
    """What was read. Whole records are not kept."""

    entries: list[Entry] = field(default_factory=list)
    protocols: dict[BoardKey, tuple[Track, Rules]] = field(default_factory=dict)
    scores: dict[str, Scores] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def boards(self) -> list[Board]:
        """The board that its reader has most records of first."""
        return gather(self.entries, self.protocols, self.scores)


def read(sources: Sequence[Path]) -> Library:
    """The records of these homes and the published ones; damaged ones become problems."""
    library = Library()
    gate, places = Gate(), walk(sources)
    while now := list(islice(places, _CHUNK)):
        chunk = []
        for origin, path in now:
            record = gate.admit(path)
            if isinstance(record, Problem):
                library.problems.append(record)
            elif record:
                chunk.append((record, entry_of(record, origin, path.parent)))
        _take(library, chunk)
    return library


def _take(library: Library, chunk: list[tuple[Record, Entry]]) -> None:
    found = samples.read([entry for _, entry in chunk])
    library.problems.extend(found.problems)
    library.scores.update(found.scores)
    for record, entry in chunk:
        library.entries.append(entry)
        library.protocols.setdefault(entry.board, (record.track, record.rules))
