"""Data misfits of runs to one frame."""

from pathlib import Path

import polars as pl

from bench.files import irregular
from bench.records import misfits
from bench.records.record import MISFIT_FILE
from leaderboard.load.records import Problem

LARGEST_BYTES = 4_000_000


def read(folders: dict[str, Path]) -> tuple[pl.DataFrame, list[Problem]]:
    """The misfits of runs, by run id, as columns of `bench.records.misfits` and `run_id`.

    Files that cannot be used are returned as problems.
    """
    frames = [pl.DataFrame(schema=misfits.SCHEMA).with_columns(run_id=pl.lit("", pl.String()))]
    problems = []
    for run_id, folder in folders.items():
        path = folder / MISFIT_FILE
        if not path.exists() and not path.is_symlink():
            continue
        if reason := irregular(path, LARGEST_BYTES):
            problems.append(Problem(path, reason))
            continue
        try:
            rows = misfits.read(folder).cast(misfits.SCHEMA)
            frames.append(rows.with_columns(run_id=pl.lit(run_id)))
        except (pl.exceptions.PolarsError, OSError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            problems.append(Problem(path, f"Misfits cannot be read: {reason}."))
    return pl.concat(frames), problems
