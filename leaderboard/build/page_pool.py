"""Process pool for run pages, which are many and alike."""

import gc
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

from bench.errors import describe
from bench.records.record import FILE
from leaderboard.load.records import Problem
from leaderboard.pages import runs
from leaderboard.pages.runs import RunPage
from leaderboard.pages.site_files import Site

_WORTH_IT = 200
"""From this many runs on, starting processes (half a second) costs less than it saves."""
_MOST = 8

_Result = tuple[int, list[Problem]]
"""Pages written, and what could not be shown."""


@contextmanager
def without_collection() -> Iterator[None]:
    """Context without garbage collection, which would walk all records and find nothing."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


class PagePool:
    """Writer of run pages: `start` it, do other work, `finish`."""

    def __init__(self, site: Site, executor: ProcessPoolExecutor | None, processes: int) -> None:
        self._site = site
        self._executor = executor
        self._processes = processes
        self._todo: Sequence[RunPage] = ()
        self._parts: list[Future[_Result]] = []

    def start(self, todo: Sequence[RunPage]) -> None:
        """Hand these runs to the processes, if there are any."""
        self._todo = todo
        if self._executor:
            self._parts = [
                self._executor.submit(
                    _task, self._site.folder, self._site.title, todo[i :: self._processes]
                )
                for i in range(self._processes)
            ]

    def finish(self) -> list[Problem]:
        """Wait until all pages are written; returns what could not be shown.

        Raises `OSError` where a page cannot be written or a process has died.
        """
        if not self._executor:
            return _write(self._site, self._todo)
        problems = []
        for part in self._parts:
            try:
                pages, found = part.result()
            except BrokenProcessPool as error:
                raise OSError("a process that writes run pages has died") from error
            self._site.pages += pages
            problems += found
        return problems


@contextmanager
def opened(site: Site, expected: int) -> Iterator[PagePool]:
    """A pool for so many runs; of processes, started in the background, where that pays."""
    processes = min(os.cpu_count() or 1, _MOST)
    if expected < _WORTH_IT or processes < 2:
        yield PagePool(site, None, 1)
        return
    # A forked process would inherit the locks of Polars' threads
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(processes, mp_context=context, initializer=_get_ready)
    try:
        for _ in range(processes):
            executor.submit(_get_ready)
        yield PagePool(site, executor, processes)
    finally:
        executor.shutdown(cancel_futures=True)


def _get_ready() -> None:
    if hasattr(os, "nice"):
        os.nice(5)  # the caller has the longer way to go


def _task(folder: Path, title: str, todo: Sequence[RunPage]) -> _Result:
    site = Site(folder, title)
    with without_collection():
        problems = _write(site, todo)
    return site.pages, problems


def _write(site: Site, todo: Sequence[RunPage]) -> list[Problem]:
    return [problem for run in todo for problem in _page(site, run)]


def _page(site: Site, run: RunPage) -> list[Problem]:
    """One page; what a record holds that nobody thought of becomes a problem, not the end.

    Raises `OSError` where the site cannot be written.
    """
    try:
        return runs.write(site, run)
    except OSError:
        raise
    except Exception as error:
        return [Problem(run.folder / FILE, f"Its page cannot be made: {describe(error)}.")]
