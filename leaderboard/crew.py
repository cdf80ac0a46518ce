"""Run pages, which are many and alike, written by other processes where that pays."""

import gc
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from leaderboard.entries import Problem
from leaderboard.pages import runs
from leaderboard.pages.runs import Place
from leaderboard.site import Site

_CHUNK = 128
"""Runs whose scores are in memory at once."""
_WORTH_IT = 200
"""From this many runs on, starting processes (half a second) costs less than it saves."""

Finish = Callable[[], list[Problem]]
_Result = tuple[int, list[Problem]]


@dataclass(frozen=True)
class _Hand:
    """A process at work, and the file in which it will leave its pickled result."""

    process: subprocess.Popen[bytes]
    answer: Path

    def result(self) -> _Result:
        """Raises what stopped the process."""
        if self.process.wait() != 0:
            raise OSError(f"a process that writes run pages ended with {self.process.returncode}")
        result: _Result | OSError = pickle.loads(self.answer.read_bytes())
        if isinstance(result, OSError):
            raise result
        return result


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


@contextmanager
def writing(site: Site, places: Sequence[Place]) -> Iterator[Finish]:
    """Start to write the pages; the block does other work and then calls what it is given."""
    count = min(os.cpu_count() or 1, 8)
    if len(places) < _WORTH_IT or count == 1:
        yield lambda: _write(site, places)
        return
    hands: list[_Hand] = []

    def finish() -> list[Problem]:
        problems = []
        for hand in hands:
            pages, found = hand.result()
            site.pages += pages
            problems += found
        return problems

    with tempfile.TemporaryDirectory(dir=site.folder.parent) as desk:
        try:
            for i in range(count):
                hands.append(_start(site, places[i::count], Path(desk, f"{i}")))
            yield finish
        finally:
            for hand in hands:
                hand.process.kill()
                hand.process.wait()


def work() -> None:
    """A process of the crew: its task comes pickled on the standard input."""
    folder, title, places = pickle.load(sys.stdin.buffer)
    site = Site(folder, title)
    result: _Result | OSError
    try:
        with without_collection():
            problems = _write(site, places)
        result = site.pages, problems
    except OSError as error:
        result = error
    pickle.dump(result, sys.stdout.buffer)


def _start(site: Site, places: Sequence[Place], answer: Path) -> _Hand:
    """Not `multiprocessing`: that would run the caller's main module again."""
    task = answer.with_suffix(".task")
    task.write_bytes(pickle.dumps((site.folder, site.title, list(places))))
    with task.open("rb") as stdin, answer.open("wb") as stdout:
        process = subprocess.Popen(
            [sys.executable, "-c", "from leaderboard.crew import work; work()"],
            stdin=stdin,
            stdout=stdout,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
    return _Hand(process, answer)


def _write(site: Site, places: Sequence[Place]) -> list[Problem]:
    problems = []
    for i in range(0, len(places), _CHUNK):
        problems += runs.write_all(site, places[i : i + _CHUNK])
    return problems
