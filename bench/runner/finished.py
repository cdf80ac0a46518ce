"""Commands that have nothing left to do, so that the same command says so without torch.

To import torch, to adapt a network with each method and to look for what is recorded takes several
seconds, and comes to the same until the home, the installation or the words change.
"""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from bench import installation
from bench.atomic import write_atomically
from bench.errors import HomeError, RecordError
from bench.protocol.spec import Track, digest
from bench.records.reader import read
from bench.records.record import FILE, Record
from bench.runner.workspace import Workspace

_FOLDERS = ("conditions", "data", "foundations", "runs", "weights")
"""Folders of a home that decide what there is to do."""


class Finished:
    """What a command found in a home when nothing was left to do; see `of`."""

    def __init__(self, key: str, workspace: Workspace, installed: str, state: str) -> None:
        self._key, self._workspace, self._installed, self._state = key, workspace, installed, state
        self._path = workspace.finished / f"{key}.json"

    @classmethod
    def of(cls, words: Mapping[str, str], track: Track, workspace: Workspace) -> Self | None:
        """Of the command with these options on this track, in the home as it is now.

        None where the state of home or installation cannot be told: nothing can be kept then.
        """
        settings = {k: v for k, v in os.environ.items() if k.startswith("BENCH_")}
        key = digest([dict(words), settings, track.model_dump(mode="json")])
        installed, files = installation.state(), _files(workspace.folder)
        if installed is None or files is None:
            return None
        return cls(key, workspace, installed, digest([installed, files]))

    def anew(self) -> Self | None:
        """Of the same command, in the home as it is now that the command has worked.

        None where the installation is another since: the plan of the command is that of the code
        that was imported before.
        """
        files = _files(self._workspace.folder)
        if files is None or installation.state() != self._installed:
            return None
        state = digest([self._installed, files])
        return type(self)(self._key, self._workspace, self._installed, state)

    def recall(self) -> tuple[list[str], list[Record]] | None:
        """The plan in words and the records of its fits; None where something has changed since, or
        the command has not come to an end."""
        with suppress(OSError, ValueError, KeyError, TypeError, RecordError, RecursionError):
            kept: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
            if kept["state"] == self._state:
                folder = self._workspace.folder
                return list(kept["lines"]), [read(folder / path) for path in kept["records"]]
        return None

    def remember(self, lines: Sequence[str], records: Sequence[Record]) -> None:
        """Keep what was found since this object was made, the plan in words and the records of its
        fits; a home that cannot be written keeps nothing."""
        home = self._workspace
        paths = [home.run(record.spec).relative_to(home.folder) / FILE for record in records]
        content = {"state": self._state, "lines": list(lines), "records": list(map(str, paths))}
        with suppress(HomeError, OSError):
            self._path.parent.mkdir(exist_ok=True)
            write_atomically(self._path, json.dumps(content).encode())


def _files(home: Path) -> list[tuple[str, int, int]] | None:
    """Data and results: paths, sizes and times of their last change in ns.

    None where a folder is a link: what is in it would not be among them.
    """
    found = []
    for path in sorted(path for folder in _FOLDERS for path in (home / folder).rglob("*")):
        if path.is_symlink() and path.is_dir():
            return None
        with suppress(OSError):
            status = path.stat()
            found.append((str(path), status.st_size, status.st_mtime_ns))
    return found
