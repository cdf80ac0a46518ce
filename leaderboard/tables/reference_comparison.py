"""Our cells next to published ones, flagged where a printed number is unreliable."""

from dataclasses import dataclass

import polars as pl

from leaderboard.load import reference
from leaderboard.tables.comparison import MethodComparison

PAPER = "Ghosal et al. 2024"
PAPER_NAMES = {"baseline": "Baseline", "fft": "FFT-PFM", "lora": "LoRA-PFM"}
"""Our methods by the names of the paper."""


@dataclass(frozen=True, kw_only=True)
class PublishedCell:
    """One of our cells with a published number for the same datasets, method and fraction."""

    train: str
    percent: int
    test: str
    method: str
    ours: float
    published: str
    """As printed."""
    source: str
    flag: str
    """Why the published number cannot be relied on; empty where nothing is known."""


def other_data(result: MethodComparison) -> str | None:
    """A warning that the track's data are not the paper's; None if they are."""
    track = result.board.track
    if track.data.source == "files":
        if track.data.train is None and track.data.files is None:
            return None
        return (
            "OTHER DATA: published numbers are from all of the real OpenFWI datasets, ours from "
            f"the part of them that track '{track.name}' takes; compare the order of methods, not "
            "values."
        )
    return (
        "OTHER DATA: published numbers are from the real OpenFWI datasets, ours from the generated "
        f"ones of track '{track.name}' with a smaller budget; compare the order of methods, not "
        "values."
    )


def published_cells(result: MethodComparison) -> list[PublishedCell]:
    """Every published number that has one of our cells beside it."""
    paper = reference.paper().filter(pl.col("metric") == result.metric.name)
    others = reference.openfwi_cross_dataset().filter(
        (pl.col("metric") == result.metric.name)
        & (pl.col("unit") == "")
        & (pl.col("backbone") == result.board.key.backbone)
    )
    rows = []
    for cell in result.cells:
        here = (pl.col("train_dataset") == cell.train) & (pl.col("test_dataset") == cell.test)
        for label, score in zip(result.labels, cell.scores, strict=True):
            name = label.split()[0]
            found = [
                (row["printed"], f"{PAPER}, Table {row['table']}", row["flag"])
                for row in paper.filter(
                    here
                    & (pl.col("fraction_percent") == cell.percent)
                    & (pl.col("method") == PAPER_NAMES.get(name, ""))
                ).to_dicts()
            ]
            if name == "baseline" and cell.percent == 100:
                found += [
                    (f"{row['value']:.4f}", "OpenFWI's published checkpoint", row["flag"])
                    for row in others.filter(here).to_dicts()
                ]
            rows += [
                PublishedCell(
                    train=cell.train,
                    percent=cell.percent,
                    test=cell.test,
                    method=label,
                    ours=score.value,
                    published=printed,
                    source=source,
                    flag=flag or "",
                )
                for printed, source, flag in found
            ]
    return rows
