"""Per-sample scores of many fits: read, checked against records, kept as arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from os.path import lexists
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.errors import describe
from bench.files import irregular
from bench.protocol.spec import CLEAN
from bench.records import scores
from bench.records.record import LARGEST_SCORES_BYTES, SCORES_FILE
from bench.seismic import metrics
from leaderboard.load.records import Problem

TEST = ("dataset", "split", "condition")
_TOLERANCE = {"rel_tol": 1e-3, "abs_tol": 1e-4}
"""Between a record's scores and those that its per-sample scores give."""
_KEYS: dict[str, pl.DataType] = dict.fromkeys(("run_id", *TEST), pl.String())
_SCHEMA = _KEYS | {"first": pl.Int64(), "count": pl.Int64()}


@dataclass(frozen=True, eq=False)
class SampleScores:
    """Per-sample scores of cells, one array for each metric: millions of rows of keys say little.

    `cells` has a row for each cell: `run_id`, the test set, `first` and `count`. Its samples
    0 … count − 1 are the values from place `first` on.
    """

    cells: pl.DataFrame
    values: dict[str, NDArray[np.float32]]
    """(n,) by column of a metric; NaN where undefined or not scored."""

    def of(self, runs: pl.DataFrame) -> "SampleScores":
        """The cells of the runs in the column `run_id`; the arrays are shared."""
        cells = self.cells.join(runs, on="run_id", how="semi", maintain_order="left")
        return SampleScores(cells, self.values)

    def clean(self, column: str) -> dict[str, dict[str, NDArray[np.float32]]]:
        """Known values of a metric on unchanged records, by run and dataset."""
        found: dict[str, dict[str, NDArray[np.float32]]] = {}
        clean = self.cells.filter(pl.col("condition") == CLEAN)
        for run, dataset, first, count in clean.select(
            "run_id", "dataset", "first", "count"
        ).iter_rows():
            values = self.values[column][first : first + count]
            known = values[~np.isnan(values)]
            if len(known):
                found.setdefault(run, {})[dataset] = known
        return found


def nothing() -> SampleScores:
    """No samples."""
    values = {metric.column: np.empty(0, np.float32) for metric in metrics.METRICS}
    return SampleScores(pl.DataFrame(schema=_SCHEMA), values)


def joined(parts: Sequence[SampleScores]) -> SampleScores:
    """The samples of several batches of runs. Takes the arrays out of the parts, to free them."""
    if not parts:
        return nothing()
    lengths = [len(next(iter(part.values.values()))) for part in parts]
    firsts = accumulate(lengths, initial=0)
    cells = [
        part.cells.with_columns(pl.col("first") + first)
        for part, first in zip(parts, firsts, strict=False)
    ]
    values = {
        metric.column: np.concatenate([part.values.pop(metric.column) for part in parts])
        for metric in metrics.METRICS
    }
    return SampleScores(pl.concat(cells), values)


def read(fits: pl.DataFrame, cells: pl.DataFrame, problems: list[Problem]) -> SampleScores:
    """Per-sample scores of the finished fits that have a file.

    Files that cannot be used, or do not give the scores of the record, become problems.
    """
    paths: dict[str, str] = {}
    stated = dict(cells.group_by("run_id").agg(pl.col("samples").sum()).iter_rows())
    done = fits.filter(pl.col("status") == "done")
    for run_id, folder in done.select("run_id", "folder").iter_rows():
        path = Path(folder) / SCORES_FILE
        if not lexists(path):
            continue
        if reason := irregular(path, LARGEST_SCORES_BYTES):
            problems.append(Problem(path, reason))
        else:
            paths[str(path)] = run_id
    frames = _read({path: stated.get(run_id, 0) for path, run_id in paths.items()}, problems)
    if not frames:
        return nothing()
    rows = pl.concat(frames)
    found = _cells(rows)
    if not found["ordered"].all():
        rows = rows.sort("path", *TEST, "sample", maintain_order=True)
        found = _cells(rows)
    ids = pl.DataFrame({"path": list(paths), "run_id": list(paths.values())})
    found = found.join(ids, on="path", maintain_order="left")
    bad = _disagreements(found, cells)
    folders = dict(fits.select("run_id", "folder").iter_rows())
    firsts = bad.unique("run_id", keep="first", maintain_order=True)
    for run_id, dataset in firsts.select("run_id", "dataset").iter_rows():
        reason = (
            f"Scores of {dataset} are missing, or do not give the means that the record states."
        )
        problems.append(Problem(Path(folders[run_id]) / SCORES_FILE, reason))
    sound = found.join(bad.select("run_id"), on="run_id", how="anti", maintain_order="left").join(
        cells.select("run_id", *TEST), on=["run_id", *TEST], how="semi", maintain_order="left"
    )
    values = {
        metric.column: rows[metric.column].fill_null(float("nan")).to_numpy()
        for metric in metrics.METRICS
    }
    return SampleScores(sound.select(*_SCHEMA), values)


def _read(paths: Mapping[str, int], problems: list[Problem]) -> list[pl.DataFrame]:
    """Files, and how many rows each may have, in one go; where that fails, half by half."""
    if not paths:
        return []
    columns = [metric.column for metric in metrics.METRICS]
    names = list(paths)
    try:
        return [scores.read_bounded(names, columns, sum(paths.values()))]
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a damaged file may make Polars panic, which is no Exception
        if len(names) == 1:
            reason = describe(error)[:200].rstrip(".")
            problems.append(Problem(Path(*names), f"Scores cannot be read: {reason}."))
            return []
    middle = len(names) // 2
    return [
        frame
        for half in (names[:middle], names[middle:])
        for frame in _read({name: paths[name] for name in half}, problems)
    ]


def _cells(rows: pl.DataFrame) -> pl.DataFrame:
    """Each run of rows of one file and test set: its place, its means, and whether it is in order.

    In order: it has the samples 0, 1, 2 and so on, each once.
    """
    keys = ["path", *TEST]
    changes = pl.any_horizontal(*(pl.col(key).ne_missing(pl.col(key).shift()) for key in keys))
    number = pl.int_range(pl.len(), dtype=pl.Int32)
    return (
        rows.lazy()
        .with_columns(changes.cum_sum().alias("run"))
        .with_row_index("place")
        .group_by("run", maintain_order=True)
        .agg(
            pl.col(*keys).first(),
            pl.col("place").first().cast(pl.Int64).alias("first"),
            pl.len().cast(pl.Int64).alias("count"),
            pl.col("sample").eq_missing(number).all().alias("ordered"),
            *(_mean(metric).alias(f"{metric.name}_found") for metric in metrics.METRICS),
        )
        .drop("run")
        .collect()
    )


def _disagreements(found: pl.DataFrame, cells: pl.DataFrame) -> pl.DataFrame:
    """Cells whose per-sample scores do not give the scores of the record."""
    known = found.select("run_id").unique()
    joined = cells.join(known, on="run_id", how="semi", maintain_order="left").join(
        found, on=["run_id", *TEST], how="left", maintain_order="left"
    )
    wrong = ~pl.col("ordered").fill_null(value=False) | (pl.col("count") != pl.col("samples"))
    for metric in metrics.METRICS:
        stated, given = pl.col(metric.name), pl.col(f"{metric.name}_found")
        largest = pl.max_horizontal(stated.abs(), given.abs())
        bound = pl.max_horizontal(_TOLERANCE["rel_tol"] * largest, pl.lit(_TOLERANCE["abs_tol"]))
        apart = ((stated - given).abs() > bound) | ~given.is_finite()
        wrong |= apart.fill_null(value=False)
    return joined.filter(wrong)


def _mean(metric: metrics.Metric) -> pl.Expr:
    mean = pl.col(metric.column).cast(pl.Float64).mean()
    return mean.sqrt() if metric.aggregate == "root_mean" else mean
