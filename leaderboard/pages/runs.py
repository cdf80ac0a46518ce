"""The page of one run: everything its record says, and its pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.protocol.columns import COSTS
from bench.records.record import FILE, MAPS_FILE, SCORES_FILE, read
from leaderboard import maps
from leaderboard.entries import Entry, Origin, Problem, entry_of, peak_bytes
from leaderboard.figures import run as figures
from leaderboard.figures import scales
from leaderboard.pages.places import method_page
from leaderboard.samples import Scores
from leaderboard.site import Site

MPS = 1500.0
"""One unit on [-1, 1] in m/s."""


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


@dataclass(frozen=True, slots=True)
class Run:
    """A run to write a page of."""

    origin: Origin
    folder: Path
    scores: Scores | None
    """Per sample; None where unknown."""


def write(site: Site, run: Run) -> list[Problem]:
    """Write the page with its pictures and downloads; returns what could not be shown.

    The record is read again: those of all runs would not fit into memory.
    """
    record, scores = read(run.folder / FILE), run.scores
    entry = entry_of(record, run.origin, run.folder)
    problems: list[Problem] = []
    try:
        pictures = _pictures(site, entry)
    except ValueError as error:
        problems.append(Problem(entry.folder / MAPS_FILE, str(error)))
        pictures = None
    files = _downloads(site, entry)
    site.page(
        f"runs/{entry.run_id}.html",
        "run",
        record=record,
        entry=entry,
        columns=COSTS,
        files=files,
        pictures=pictures,
        pitch=maps.PITCH,
        runs_page=f"{entry.board.slug}-runs.html",
        method_page=method_page(entry.board, entry.variant) if entry.method else None,
        velocity_bar=scales.velocity() if pictures else None,
        error_bar=scales.error() if pictures else None,
        curve=figures.learning_curve(record.curve) if record.curve else None,
        spread=figures.spread({d: scores[d] for d in entry.cells if d in scores})
        if scores
        else None,
        phases=[
            (name, phase, peak_bytes(phase))
            for name, phase in (("training", record.train), ("scoring", record.score))
            if phase
        ],
        mps=MPS,
    )
    return problems


def _downloads(site: Site, entry: Entry) -> dict[str, str]:
    """Copies of the record and its scores beside the page: label → file name."""
    files = {}
    for label, name, suffix in (("JSON", FILE, "json"), ("Parquet", SCORES_FILE, "parquet")):
        source: Path = entry.folder / name
        if source.is_file():
            files[label] = f"{entry.run_id}.{suffix}"
            site.file(f"runs/{files[label]}", source.read_bytes())
    return files


def _pictures(site: Site, entry: Entry) -> Pictures | None:
    """Best, median and worst of the kept samples of each cell, by this run's own MAE."""
    items, rows = [], []
    for dataset, gallery in maps.load(entry.folder, tuple(entry.cells)).items():
        errors = [
            maps.mae_mps(p, t) for p, t in zip(gallery.prediction, gallery.truth, strict=True)
        ]
        for rank, i in chosen(errors):
            truth, prediction = gallery.truth[i], gallery.prediction[i]
            items.append(Picture(dataset, rank, int(gallery.samples[i]), errors[i]))
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
    name = f"runs/{entry.run_id}.png"
    site.file(name, sheet.png)
    return Pictures(name, sheet.width, sheet.height, tuple(items))


def chosen(errors: Sequence[float]) -> list[tuple[str, int]]:
    """Indices of the best, median and worst, each once, in that order."""
    if not errors:
        return []
    order = np.argsort(np.asarray(errors), kind="stable")
    picks = {"best": order[0], "median": order[(len(order) - 1) // 2], "worst": order[-1]}
    kept: dict[int, str] = {}
    for rank, index in picks.items():
        kept.setdefault(int(index), rank)
    return [(rank, index) for index, rank in kept.items()]
