"""The cells of a protocol, and the fits that have all of them."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import polars as pl

from bench.protocol.protocols import Protocol, Slot
from bench.protocol.spec import TestSet
from leaderboard.load.samples import TEST

FIT = ("train", "percent", "holdout")
"""Columns that name a fit of a method, seed left open."""
CellKey = tuple[Any, ...]
"""Values of `FIT` and of the test set."""


def by_cell(frame: pl.DataFrame) -> dict[CellKey, set[tuple[str, int]]]:
    """Variant keys and seeds of the fits on each cell."""
    pairs: dict[tuple[str, int], tuple[str, int]] = {}  # each once: there are 100,000s of cells
    found = {}
    grouped = frame.group_by(*FIT, *TEST).agg("variant", "seed")
    for *cell, keys, seeds in grouped.iter_rows():
        own = zip(keys, seeds, strict=True)
        found[tuple(cell)] = {pairs.setdefault(pair, pair) for pair in own}
    return found


def complete(
    known: Mapping[CellKey, set[tuple[str, int]]], protocol: Protocol
) -> dict[str, tuple[int, ...]]:
    """Seeds that a variant has on every cell of a protocol, by its key."""
    wanted = [known.get(cell, set()) for cell in _cells(protocol)]
    found: dict[str, list[int]] = defaultdict(list)
    for key, seed in sorted(set.intersection(*wanted)) if wanted else ():
        found[key].append(seed)
    return {key: tuple(seeds) for key, seeds in found.items()}


def _cells(protocol: Protocol) -> list[CellKey]:
    return [
        (slot.datasets[0], slot.percent, slot.holdout, test.dataset, test.split, test.condition)
        for slot in protocol.fits
        for test in slot.tests
    ]


def cells_of(protocol: Protocol) -> pl.DataFrame:
    """The cells of a protocol's fits: `train`, `percent`, `holdout`, the test set, `weight`.

    The cells weigh the same and together 1.
    """
    rows = _cells(protocol)
    columns = [*FIT, *TEST]
    frame = pl.DataFrame(rows, schema=columns, orient="row")
    return frame.with_columns(pl.lit(1 / max(len(rows), 1)).alias("weight"))


def one_cell(train: str, percent: int, test: TestSet) -> Protocol:
    """One cell as a protocol of its own."""
    slot = Slot(datasets=(train,), percent=percent, tests=(test,))
    label = f"{train} → {test.name}"
    return Protocol(name=f"{train}-{percent}-{test.name}", label=label, summary="", slots=(slot,))
