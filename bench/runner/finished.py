"""Commands that have nothing left to do, so that the same command says so without torch.

To import torch, to adapt a network with each method and to look for what is recorded takes several
seconds, and comes to the same until the home, the installation or the words change.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

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
    """What a command found in a home when nothing was left to do.

    Parameters
    ----------
    words
        The command's options and their values; those that change neither plan nor messages are left
        out by the caller.
    track
        The track that they name.
    """

    def __init__(self, words: Mapping[str, object], track: Track, workspace: Workspace) -> None:
        said = {name: str(value) for name, value in words.items()}
        settings = {k: v for k, v in os.environ.items() if k.startswith("BENCH_")}
        key = digest([said, settings, track.model_dump(mode="json")])
        self._workspace = workspace
        self._path = workspace.folder / "finished" / f"{key}.json"
        self.installation = installation.state()
        """A command that has worked is kept only if this is still what it was at the start: its
        plan is that of the code that was imported then."""
        self._state = digest([self.installation, sorted(self._files())])

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

    def _files(self) -> Iterator[tuple[str, int, int]]:
        """The home's data and results: paths, sizes and times of their last change in ns."""
        for kind in _FOLDERS:
            for path in (self._workspace.folder / kind).rglob("*"):
                with suppress(OSError):
                    found = path.stat()
                    yield str(path), found.st_size, found.st_mtime_ns
