"""Data misfits of a fit's kept maps: one Parquet file, a row per dataset and sample.

Columns: `dataset`, `sample`, `relative_l2`, `clamped`, `excess_mps` (`bench.seismic.misfit`),
`version` of the definition and `maps`, the SHA-256 of the maps they were computed from.
"""

import hashlib
import io
from pathlib import Path

import polars as pl

from bench.atomic import write_atomically
from bench.files import irregular
from bench.records.record import MAPS_FILE, MISFIT_FILE

_MOST_BYTES = 4_000_000
_MOST_MAPS_BYTES = 64_000_000

SCHEMA = pl.Schema(
    {
        "dataset": pl.String(),
        "sample": pl.Int32(),
        "relative_l2": pl.Float32(),
        "clamped": pl.Float32(),
        "excess_mps": pl.Float32(),
        "version": pl.Int32(),
        "maps": pl.String(),
    }
)


def write(folder: Path, rows: pl.DataFrame) -> None:
    """Write `misfit.parquet` of a run. Raises `HomeError` if it cannot be written."""
    buffer = io.BytesIO()
    rows.select(*SCHEMA).cast(SCHEMA).write_parquet(buffer)
    write_atomically(folder / MISFIT_FILE, buffer.getvalue())


def read(folder: Path) -> pl.DataFrame:
    """The misfits of a run; no rows where there are none, or they are those of other maps.

    Raises what polars raises for an unreadable file.
    """
    path = folder / MISFIT_FILE
    if irregular(path, _MOST_BYTES):
        return pl.DataFrame(schema=SCHEMA)
    return pl.read_parquet(path).select(*SCHEMA).filter(pl.col("maps") == maps_sha256(folder))


def maps_sha256(folder: Path) -> str | None:
    """SHA-256 of the kept maps; None where there are none."""
    path = folder / MAPS_FILE
    if irregular(path, _MOST_MAPS_BYTES):
        return None
    return hashlib.sha256(path.read_bytes()).hexdigest()
