"""Process pool that reads records and writes their pages: they are many and alike.

A record is read once: its page is written where its facts are taken.
"""

import gc
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

from bench.errors import describe
from bench.records.record import FILE
from bench.seismic import metrics
from leaderboard.load import results
from leaderboard.load.records import Place, Problem
from leaderboard.load.results import AdmittedRun, Batch
from leaderboard.pages import runs
from leaderboard.pages.runs import Errors
from leaderboard.pages.site_files import Site

_WORTH_IT = 200
"""From this many runs on, starting processes (half a second) costs less than it saves."""
_MOST = 8

_Result = tuple[Batch, int]
"""Facts of some records, and how many pages were written."""


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


def facts(site: Site, paths: Sequence[Place]) -> Iterator[Batch]:
    """Facts of these records in batches, whose pages are written.

    In processes of their own where that pays. Raises `OSError` where a page cannot be written or a
    process has died.
    """
    parts = list(results.batches(paths))
    processes = min(os.cpu_count() or 1, _MOST, len(parts))
    if len(paths) < _WORTH_IT or processes < 2:
        for part in parts:
            batch, pages = _work(site, part)
            site.pages += pages
            yield batch
        return
    # A forked process would inherit the locks of Polars' threads
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(
        processes, mp_context=context, initializer=_start, initargs=(site.folder, site.title)
    )
    try:
        for batch, pages in executor.map(_task, parts):
            site.pages += pages
            yield batch
    except BrokenProcessPool as error:
        raise OSError("a process that writes run pages has died") from error
    finally:
        executor.shutdown(cancel_futures=True)


_site: Site
"""Of a process of the pool."""


def _start(folder: Path, title: str) -> None:
    global _site
    _site = Site(folder, title)
    gc.disable()


def _task(paths: Sequence[Place]) -> _Result:
    return _work(_site, paths)


def _work(site: Site, paths: Sequence[Place]) -> _Result:
    admitted, problems = results.admitted(paths)
    batch = results.facts(admitted, problems)
    errors = batch.samples.clean(metrics.METRICS[0].column)
    for run in admitted:
        batch.problems += _page(site, run, errors.get(run.record.run_id, {}))
    return batch, len(admitted)


def _page(site: Site, run: AdmittedRun, errors: Errors) -> list[Problem]:
    """One page; what a record holds that nobody thought of becomes a problem, not the end.

    Raises `OSError` where the site cannot be written.
    """
    try:
        return runs.write(site, run, errors)
    except OSError:
        raise
    except Exception as error:
        return [Problem(run.folder / FILE, f"Its page cannot be made: {describe(error)}.")]
