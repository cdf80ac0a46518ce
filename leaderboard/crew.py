"""Run pages, which are many and alike, written by other processes where that pays."""

import gc
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast

from leaderboard.entries import Problem
from leaderboard.pages import runs
from leaderboard.pages.runs import Run
from leaderboard.site import Site

_WORTH_IT = 200
"""From this many runs on, starting processes (half a second) costs less than it saves."""

_Result = tuple[int, list[Problem]]


@contextmanager
def without_collection() -> Iterator[None]:
    """No search for cycles of garbage: it walks all records again and again, and finds none."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


class Crew:
    """Writes run pages: `start` them, do other work, `finish`."""

    def __init__(self, site: Site, hands: Sequence["_Hand"]) -> None:
        self._site = site
        self._hands = hands
        self._todo: Sequence[Run] = ()

    def start(self, todo: Sequence[Run]) -> None:
        self._todo = todo
        for i, hand in enumerate(self._hands):
            hand.give(self._site, todo[i :: len(self._hands)])

    def finish(self) -> list[Problem]:
        """Wait until all pages are written; returns what could not be shown."""
        if not self._hands:
            return _write(self._site, self._todo)
        problems = []
        for hand in self._hands:
            pages, found = hand.result()
            self._site.pages += pages
            problems += found
        return problems


@contextmanager
def hired(site: Site, expected: int) -> Iterator[Crew]:
    """A crew for so many runs; of processes, which get ready meanwhile, where that pays."""
    count = min(os.cpu_count() or 1, 8)
    with tempfile.TemporaryDirectory(dir=site.folder.parent) as desk:
        hands: list[_Hand] = []
        try:
            if expected >= _WORTH_IT and count > 1:
                hands += (_Hand(Path(desk, f"{i}")) for i in range(count))
            yield Crew(site, hands)
        finally:
            for hand in hands:
                hand.dismiss()


class _Hand:
    """A process that waits for its task and leaves its pickled result in the file `answer`."""

    def __init__(self, answer: Path) -> None:
        self._answer = answer
        with answer.open("wb") as stdout:
            # Not `multiprocessing`: that would run the caller's main module again
            self._process = subprocess.Popen(
                [sys.executable, "-c", "from leaderboard.crew import work; work()"],
                stdin=subprocess.PIPE,
                stdout=stdout,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )

    def give(self, site: Site, todo: Sequence[Run]) -> None:
        stdin = cast(BinaryIO, self._process.stdin)
        with suppress(BrokenPipeError), stdin:  # `result` tells of a process that has died
            pickle.dump((site.folder, site.title, list(todo)), stdin)

    def result(self) -> _Result:
        """Raises what stopped the process."""
        if self._process.wait() != 0:
            raise OSError(f"a process that writes run pages ended with {self._process.returncode}")
        result: _Result | OSError = pickle.loads(self._answer.read_bytes())
        if isinstance(result, OSError):
            raise result
        return result

    def dismiss(self) -> None:
        self._process.kill()
        self._process.communicate()


def work() -> None:
    """A process of the crew: its task comes pickled on the standard input."""
    if hasattr(os, "nice"):
        os.nice(10)  # the caller has the longer way to go
    folder, title, todo = pickle.load(sys.stdin.buffer)
    site = Site(folder, title)
    result: _Result | OSError
    try:
        with without_collection():
            problems = _write(site, todo)
        result = site.pages, problems
    except OSError as error:
        result = error
    pickle.dump(result, sys.stdout.buffer)


def _write(site: Site, todo: Sequence[Run]) -> list[Problem]:
    return [problem for run in todo for problem in runs.write(site, run)]
