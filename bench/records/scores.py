"""Per-sample scores of a fit: one Parquet file, a row per test set and sample.

Columns: `dataset`, `split`, `condition`, `sample` and one for each metric, named by
`bench.seismic.metrics.Metric.column`; null where undefined or not scored.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.atomic import write_atomically
from bench.protocol.spec import CLEAN, TestSet
from bench.records.record import SCORES_FILE

KEYS = ("dataset", "split", "condition", "sample")

Values = Mapping[str, NDArray[np.float32]]
"""(n,) per-sample values by column; NaN where undefined."""


def frame(test_set: TestSet, values: Values) -> pl.DataFrame:
    """The rows of one test set as a frame."""
    return (
        pl.DataFrame(dict(values))
        .with_columns(pl.all().fill_nan(None))
        .with_row_index("sample")
        .select(
            pl.lit(test_set.dataset).alias("dataset"),
            pl.lit(test_set.split).alias("split"),
            pl.lit(test_set.condition).alias("condition"),
            pl.col("sample").cast(pl.Int32),
            *values,
        )
    )


def read(path: Path) -> pl.DataFrame:
    """Read all scores of a file. Raises what polars raises for an unreadable one."""
    return normalised(pl.read_parquet(path))


def read_bounded(paths: Sequence[str], columns: Sequence[str], most_rows: int) -> pl.DataFrame:
    """Key columns and values of the given columns of files from outside, with each file's `path`.

    Nothing else is read, and only if keys are texts, values are numbers and the files hold no more
    than `most_rows` rows together: a small file may stand for any number of them. A column that a
    file lacks is null. Raises `ValueError`, and what Polars raises for a damaged file.
    """
    scan = pl.scan_parquet(list(paths), include_file_paths="path", glob=False)
    schema = scan.collect_schema()
    rows = scan.select(pl.len()).collect().item()
    if rows > most_rows:
        raise ValueError(f"{rows:,} rows, where records state {most_rows:,} samples")
    wanted = {"part", *KEYS, *columns} & set(schema.names())
    for name in wanted:
        text = name in ("part", *KEYS[:3])
        if schema[name] != pl.String if text else not schema[name].is_numeric():
            raise ValueError(f"column '{name}' is of type {schema[name]}")
    frame = normalised(scan.select("path", *sorted(wanted)).collect())
    values = [
        (pl.col(name) if name in wanted else pl.lit(None, pl.Float32)).cast(pl.Float32).alias(name)
        for name in columns
    ]
    return frame.select("path", *KEYS[:3], pl.col("sample").cast(pl.Int32), *values)


def normalised(scores: pl.DataFrame) -> pl.DataFrame:
    """Scores of any schema version with the present key columns first."""
    if "part" in scores.columns:  # schema 1
        scores = scores.rename({"part": "split"})
    if "condition" not in scores.columns:
        scores = scores.with_columns(pl.lit(CLEAN).alias("condition"))
    return scores.select(*KEYS, pl.exclude(KEYS))


def update(folder: Path, new: Mapping[TestSet, Values]) -> None:
    """Write `scores.parquet` with new test sets, which replace those of the same name.

    Raises `HomeError` if it cannot be written.
    """
    frames = [frame(test_set, values) for test_set, values in new.items()]
    path = folder / SCORES_FILE
    if path.exists():
        replaced = pl.DataFrame(
            [(t.dataset, t.split, t.condition) for t in new],
            schema={"dataset": pl.String, "split": pl.String, "condition": pl.String},
            orient="row",
        )
        frames.insert(0, read(path).join(replaced, on=KEYS[:3], how="anti", maintain_order="left"))
    buffer = io.BytesIO()
    pl.concat(frames, how="diagonal").write_parquet(buffer)
    write_atomically(path, buffer.getvalue())
