"""What a fit leaves beside its record: per-sample scores and the gallery's maps."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from bench.atomic import write_atomically
from bench.protocol.spec import Part
from bench.records.record import MAPS_FILE, SCORES_FILE, Cell
from bench.training.evaluate import Scored


def cell(dataset: str, part: Part, scored: Scored) -> Cell:
    """A cell's scores over all its samples (DESIGN section 3)."""
    means = {
        name: float(np.mean(values, dtype=np.float64)) for name, values in scored.scores.items()
    }
    edge = scored.scores["edge"].astype(np.float64)
    return Cell(
        dataset=dataset,
        part=part,
        samples=len(edge),
        mae=means["mae"],
        rmse=float(np.sqrt(means["mse"])),
        ssim=means["ssim"],
        edge=float(np.nanmean(edge)) if np.isfinite(edge).any() else None,
    )


def write_scores(folder: Path, part: Part, cells: Mapping[str, Scored]) -> None:
    """`scores.parquet`: dataset, part, sample, mae, mse, ssim, edge (null where undefined)."""
    frames = [
        pl.DataFrame(scored.scores)
        .with_columns(pl.col("edge").fill_nan(None))
        .with_row_index("sample")
        .select(
            pl.lit(dataset).alias("dataset"),
            pl.lit(part).alias("part"),
            pl.col("sample").cast(pl.Int32),
            "mae",
            "mse",
            "ssim",
            "edge",
        )
        for dataset, scored in cells.items()
    ]
    buffer = io.BytesIO()
    pl.concat(frames).write_parquet(buffer)
    write_atomically(folder / SCORES_FILE, buffer.getvalue())


def write_maps(folder: Path, cells: Mapping[str, Scored]) -> None:
    """`maps.npz`: for each dataset D the arrays `D.sample`, `D.truth`, `D.prediction` (m/s)."""
    arrays: dict[str, np.ndarray] = {}
    for dataset, scored in cells.items():
        arrays[f"{dataset}.sample"] = np.arange(len(scored.truth), dtype=np.int32)
        arrays[f"{dataset}.truth"] = scored.truth
        arrays[f"{dataset}.prediction"] = scored.prediction
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_atomically(folder / MAPS_FILE, buffer.getvalue())
