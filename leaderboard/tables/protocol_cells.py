"""The cells of a protocol as a frame."""

import polars as pl

from bench.protocol.protocols import Protocol, Slot
from bench.protocol.spec import TestSet
from leaderboard.load.samples import TEST

FIT = ("train", "percent", "holdout")
"""Columns that name a fit of a method, seed left open."""


def cells_of(protocol: Protocol) -> pl.DataFrame:
    """The cells of a protocol's fits: `train`, `percent`, `holdout`, the test set, `weight`.

    The cells weigh the same and together 1.
    """
    rows = [
        (slot.datasets[0], slot.percent, slot.holdout, test.dataset, test.split, test.condition)
        for slot in protocol.fits
        for test in slot.tests
    ]
    columns = [*FIT, *TEST]
    frame = pl.DataFrame(rows, schema=columns, orient="row")
    return frame.with_columns(pl.lit(1 / max(len(rows), 1)).alias("weight"))


def one_cell(train: str, percent: int, test: TestSet) -> Protocol:
    """One cell as a protocol of its own."""
    slot = Slot(datasets=(train,), percent=percent, tests=(test,))
    label = f"{train} → {test.name}"
    return Protocol(name=f"{train}-{percent}-{test.name}", label=label, summary="", slots=(slot,))
