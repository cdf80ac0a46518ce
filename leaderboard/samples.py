"""Per-sample scores: many small Parquet files in few reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isclose
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from bench.records.record import SCORES_FILE
from leaderboard.entries import Entry, Problem

METRICS = ("mae", "mse", "ssim")
_COLUMNS = ("dataset", "part", "sample", *METRICS)

Scores = dict[str, npt.NDArray[np.float32]]
"""For each test dataset (metric, sample), metrics in the order of `METRICS`."""


@dataclass(frozen=True, slots=True)
class Read:
    """Scores of some runs by run id, and the files that could not be used."""

    scores: dict[str, Scores]
    problems: list[Problem]


def read(entries: Sequence[Entry]) -> Read:
    """Scores of all entries that have a file; one damaged file does not spoil the others."""
    paths = {
        str(path): entry
        for entry in entries
        if entry.status == "done" and (path := entry.folder / SCORES_FILE).is_file()
    }
    try:
        return _split(_scan(list(paths)), paths)
    except (pl.exceptions.PolarsError, OSError):
        pass
    found = Read({}, [])
    for name, entry in paths.items():
        try:
            one = _split(_scan([name]), {name: entry})
        except (pl.exceptions.PolarsError, OSError) as error:
            reason = str(error).splitlines()[0][:200]
            found.problems.append(Problem(Path(name), f"Scores cannot be read: {reason}."))
            continue
        found.scores.update(one.scores)
        found.problems.extend(one.problems)
    return found


def _scan(paths: Sequence[str]) -> pl.DataFrame:
    if not paths:
        return pl.DataFrame()
    frame = pl.scan_parquet(list(paths), include_file_paths="path", glob=False)
    return frame.select("path", *_COLUMNS).sort("path", "dataset", "part", "sample").collect()


def _split(frame: pl.DataFrame, paths: dict[str, Entry]) -> Read:
    """A frame of many runs, cut where run, dataset or part change."""
    found = Read({}, [])
    if frame.is_empty():
        return found
    values = frame.select(pl.col(METRICS).cast(pl.Float32)).to_numpy().T
    keys = frame.select(pl.struct("path", "dataset", "part").rle().alias("run")).unnest("run")
    scores: dict[str, Scores] = {path: {} for path in paths}
    start = 0
    for length, key in keys.iter_rows():
        end = start + length
        if key["part"] == paths[key["path"]].part:
            scores[key["path"]][key["dataset"]] = np.ascontiguousarray(values[:, start:end])
        start = end
    for path, entry in paths.items():
        reason = _disagreement(entry, scores[path])
        if reason:
            found.problems.append(Problem(Path(path), reason))
        else:
            found.scores[entry.run_id] = scores[path]
    return found


def _disagreement(entry: Entry, scores: Scores) -> str | None:
    """Per-sample scores must give the record's own means."""
    for dataset, cell in entry.cells.items():
        values = scores.get(dataset)
        if values is None or values.shape[1] != cell.samples:
            return f"Scores of {dataset} are missing or not of {cell.samples} samples."
        mae, mse, ssim = values.mean(axis=1, dtype=np.float64).tolist()
        pairs = ((cell.mae, mae), (cell.rmse, mse**0.5), (cell.ssim, ssim))
        if not all(isclose(a, b, rel_tol=1e-3, abs_tol=1e-4) for a, b in pairs):
            return f"Scores of {dataset} do not give the means that the record states."
    return None
