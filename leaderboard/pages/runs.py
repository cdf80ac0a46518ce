"""The page of one run: everything its record says, and its pictures."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.records import maps as kept
from bench.records.record import FILE, MAPS_FILE, SCORES_FILE, Record
from bench.seismic import metrics
from leaderboard.figures import maps, scales
from leaderboard.figures import run as figures
from leaderboard.load.records import Problem, board_key
from leaderboard.load.results import AdmittedRun, peak_bytes
from leaderboard.pages import run_tables
from leaderboard.pages.site_files import Site
from leaderboard.pages.urls import method_page

Errors = Mapping[str, npt.NDArray[np.float32]]
"""(n,) per-sample MAE by dataset, on unchanged records; empty where it is not known."""


@dataclass(frozen=True, slots=True)
class Picture:
    """Truth, prediction and error of one test sample: a row of the run's sheet."""

    dataset: str
    rank: str
    sample: int
    mae_mps: float


@dataclass(frozen=True, slots=True)
class Pictures:
    """All pictures of a run; `sheet` is the file's path in the site."""

    sheet: str
    width: int
    height: int
    items: tuple[Picture, ...]


def write(site: Site, run: AdmittedRun, errors: Errors) -> list[Problem]:
    """Write the page with its pictures and downloads; returns what could not be shown."""
    record = run.record
    row = run.row
    problems: list[Problem] = []
    try:
        pictures = _pictures(site, record, run.folder)
    except ValueError as error:
        problems.append(Problem(run.folder / MAPS_FILE, str(error)))
        pictures = None
    board = board_key(record)
    adapted = record.spec.kind == "adaptation"
    site.page(
        f"runs/{record.run_id}.html",
        "run",
        record=record,
        entry=row,
        metrics=metrics.METRICS,
        files=_downloads(site, record, run.folder),
        pictures=pictures,
        pitch=maps.PITCH,
        runs_page=f"{board.slug}-runs.html",
        method_page=method_page(board, row["variant"])
        if adapted and not record.spec.holdout
        else None,
        velocity_bar=scales.velocity() if pictures else None,
        error_bar=scales.error() if pictures else None,
        curve=figures.learning_curve(record.curve) if record.curve else None,
        spread=figures.spread(errors) if errors else None,
        scores=run_tables.scores(record),
        costs=run_tables.costs(row),
        phases=run_tables.phases(
            (name, phase, peak_bytes(phase))
            for name, phase in (
                ("training", record.cost),
                *(("scoring", evaluation.cost) for evaluation in record.evaluations),
            )
            if phase
        ),
        provenance=run_tables.provenance(record),
    )
    return problems


def _downloads(site: Site, record: Record, folder: Path) -> dict[str, str]:
    """Copies of the record and its scores beside the page: label → file name."""
    files = {}
    for label, name, suffix in (("JSON", FILE, "json"), ("Parquet", SCORES_FILE, "parquet")):
        source = folder / name
        if source.is_file() and not source.is_symlink():
            files[label] = f"{record.run_id}.{suffix}"
            site.file(f"runs/{files[label]}", source.read_bytes())
    return files


def _pictures(site: Site, record: Record, folder: Path) -> Pictures | None:
    """Best, median and worst of the kept samples of each cell, by this run's own MAE."""
    items, rows = [], []
    datasets = tuple(dict.fromkeys(cell.test_set.dataset for cell in record.cells))
    for dataset, gallery in kept.read(folder, datasets).items():
        errors = gallery.errors_mps()
        for rank, i in chosen(errors):
            truth, prediction = gallery.truth[i], gallery.prediction[i]
            items.append(Picture(dataset, rank, int(gallery.samples[i]), float(errors[i])))
            rows.append(
                [
                    maps.velocity_tile(truth),
                    maps.velocity_tile(prediction),
                    maps.error_tile(prediction, truth),
                ]
            )
    if not rows:
        return None
    sheet = maps.Sheet.of(rows)
    name = f"runs/{record.run_id}.png"
    site.file(name, sheet.png)
    return Pictures(name, sheet.width, sheet.height, tuple(items))


def chosen(errors: npt.NDArray[np.float64]) -> list[tuple[str, int]]:
    """Indices of the best, median and worst, each once, in that order."""
    if len(errors) == 0:
        return []
    order = np.argsort(errors, kind="stable")
    picks = {"best": order[0], "median": order[(len(order) - 1) // 2], "worst": order[-1]}
    kept: dict[int, str] = {}
    for rank, index in picks.items():
        kept.setdefault(int(index), rank)
    return [(rank, index) for index, rank in kept.items()]
