"""Homes and published records → entries, their per-sample scores, and boards."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.protocol.spec import Rules, Track
from leaderboard import samples
from leaderboard.boards import Board, gather
from leaderboard.entries import BoardKey, Entry, Gate, Origin, Problem, entry_of, walk
from leaderboard.samples import Scores

_CHUNK = 1024
"""Files of scores in memory at once."""


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
    """The records of these homes and the published ones."""
    return collect(walk(sources))


def collect(paths: Iterable[tuple[Origin, Path]]) -> Library:
    """Records with their per-sample scores; damaged files become problems."""
    library, gate = Library(), Gate()
    for origin, path in paths:
        record = gate.admit(path)
        if isinstance(record, Problem):
            library.problems.append(record)
        elif record:
            entry = entry_of(record, origin, path.parent)
            library.entries.append(entry)
            library.protocols.setdefault(entry.board, (record.track, record.rules))
    for i in range(0, len(library.entries), _CHUNK):
        found = samples.read(library.entries[i : i + _CHUNK])
        library.scores.update(found.scores)
        library.problems.extend(found.problems)
    return library
