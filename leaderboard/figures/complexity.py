"""Spatial information of each dataset, from the true maps that runs keep."""

from pathlib import Path

import polars as pl

from bench.protocol.spec import CLEAN, DATASETS
from bench.records import maps
from bench.seismic.complexity import spatial_information
from leaderboard.tables.boards import Board


def of(board: Board) -> dict[str, float]:
    """Mean Sobel gradient magnitude (m/s per cell) of the kept test maps, by dataset.

    Truth is the same for all runs of a board, so the first that keeps a dataset's maps will do.
    Damaged files are passed over: the pages that show them report them.
    """
    found: dict[str, float] = {}
    clean = board.cells.filter(pl.col("split") == "test", pl.col("condition") == CLEAN)
    kept = clean.join(board.fits.select("run_id", "folder"), on="run_id").sort("run_id")
    by_folder: dict[str, list[str]] = {}
    for folder, dataset in kept.select("folder", "dataset").iter_rows():
        by_folder.setdefault(folder, []).append(dataset)
    for folder, datasets in by_folder.items():
        wanted = [d for d in datasets if d in DATASETS and d not in found]
        if wanted:
            try:
                galleries = maps.read(Path(folder), wanted)
            except ValueError:
                continue
            for dataset, kept_maps in galleries.items():
                # Not the worst one of each fit, which is no random sample
                truth = kept_maps.truth[kept_maps.samples < board.track.gallery]
                if len(truth):
                    found[dataset] = float(spatial_information(truth).mean())
        if len(found) == len(DATASETS):
            break
    return {dataset: found[dataset] for dataset in DATASETS if dataset in found}
