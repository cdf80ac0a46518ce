"""Per-sample scores: many small Parquet files in few reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from bench.record import SCORES_FILE
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
    for path, entry in paths.items():
        try:
            one = _split(_scan([path]), {path: entry})
        except (pl.exceptions.PolarsError, OSError) as error:
            reason = str(error).splitlines()[0][:200]
            found.problems.append(Problem(Path(path), f"Scores cannot be read: {reason}."))
            continue
        found.scores.update(one.scores)
        found.problems.extend(one.problems)
    return found


def _scan(paths: Sequence[str]) -> pl.DataFrame:
    if not paths:
        return pl.DataFrame()
    frame = pl.scan_parquet(list(paths), include_file_paths="path", glob=False)
    return frame.select("path", *_COLUMNS).collect()


def _split(frame: pl.DataFrame, paths: dict[str, Entry]) -> Read:
    found = Read({}, [])
    if frame.is_empty():
        return found
    for (path,), run in frame.group_by("path", maintain_order=True):
        entry = paths[str(path)]
        scores: Scores = {}
        own = run.filter(pl.col("part") == entry.part)
        for (dataset,), cell in own.group_by("dataset", maintain_order=True):
            values = cell.sort("sample").select(METRICS).to_numpy().T.astype(np.float32)
            scores[str(dataset)] = np.ascontiguousarray(values)
        reason = _disagreement(entry, scores)
        if reason:
            found.problems.append(Problem(Path(str(path)), reason))
        else:
            found.scores[entry.run_id] = scores
    return found


def _disagreement(entry: Entry, scores: Scores) -> str | None:
    """Per-sample scores must give the record's own means."""
    for dataset, cell in entry.cells.items():
        values = scores.get(dataset)
        if values is None or values.shape[1] != cell.samples:
            return f"Scores of {dataset} are missing or not of {cell.samples} samples."
        mae, mse, ssim = values.mean(axis=1, dtype=np.float64)
        told, means = (cell.mae, cell.rmse, cell.ssim), (mae, np.sqrt(mse), ssim)
        if not np.allclose(told, means, rtol=1e-3, atol=1e-4):
            return f"Scores of {dataset} do not give the means that the record states."
    return None
