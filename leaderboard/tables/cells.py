"""Every cell of every method: its mean, interval, and gain over the reference method."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bench.protocol import protocols
from bench.protocol.protocols import Slot
from bench.seismic import metrics
from bench.seismic.metrics import Metric
from leaderboard.stats.estimates import Estimate, Floats, by_group
from leaderboard.tables import values
from leaderboard.tables.boards import Board
from leaderboard.tables.variants import Variant

Key = tuple[str, str, int, str, str]
"""Variant key, training dataset, per cent, test dataset, metric."""
CellKey = tuple[str, str, int, str]
"""The same without the metric."""


@dataclass(frozen=True, slots=True)
class CellScore:
    """One method on one cell, mean over seeds."""

    value: float
    interval: Estimate | None
    gain: Estimate | None
    """Over the reference method in per cent; None without per-sample scores on the same seeds."""


def table(board: Board) -> dict[Key, CellScore]:
    """Scores of every method on the cells of `lowdata`, which include those of id and ood."""
    found: dict[Key, CellScore] = {}
    slots = protocols.get("lowdata").fits
    for metric in metrics.METRICS:
        intervals: dict[CellKey, Estimate] = {}
        gains: dict[CellKey, Estimate] = {}
        for slot in slots:  # one after the other: the samples of all of them are large
            arrays = _arrays(board, metric, slot)
            intervals |= by_group({key: a.values for key, a in arrays.items()})
            if board.reference:
                gains |= by_group(_gains(arrays, board.reference, metric))
        for (train, percent, test), known in board.cell_means.items():
            for row in known:
                value = row[metric.name]
                key = (row["variant"], train, percent, test)
                if value is not None:
                    found[(*key, metric.name)] = CellScore(
                        value, intervals.get(key), gains.get(key)
                    )
    return found


def means(board: Board, train: str, percent: int, test: str) -> dict[str, dict[str, float]]:
    """Scores of every method on one clean cell, mean over seeds, by variant key and metric."""
    names = [m.name for m in metrics.METRICS]
    rows = board.cell_means.get((train, percent, test), [])
    return {row["variant"]: {name: row[name] for name in names} for row in rows}


@dataclass(frozen=True, slots=True, eq=False)
class _Array:
    """A method on a cell: values (seed, sample), linear in the score; NaN where undefined."""

    seeds: tuple[int, ...]
    values: Floats


def _arrays(board: Board, metric: Metric, slot: Slot) -> dict[CellKey, _Array]:
    """Per-sample values of the cells of a slot; seeds with another number of them are left out."""
    column = board.samples.values[metric.column]
    found = {}
    (train,) = slot.datasets
    for key in board.fitted:
        runs = board.run_ids(key, train, slot.percent)
        for test in slot.tests:
            places = {
                seed: place
                for seed, run in sorted(runs.items())
                if (place := board.sampled.get((run, test.dataset, test.split, test.condition)))
            }
            if not places:
                continue
            count = max(count for _, count in places.values())
            firsts = {seed: first for seed, (first, n) in places.items() if n == count}
            raw = np.stack([column[first : first + count] for first in firsts.values()])
            found[key, train, slot.percent, test.dataset] = _Array(
                tuple(firsts), values.linear(raw.astype(np.float64), metric)
            )
    return found


def _gains(
    arrays: Mapping[CellKey, _Array], reference: Variant, metric: Metric
) -> dict[CellKey, Floats]:
    """Gains over the reference method out of distribution, on the seeds that both have."""
    found = {}
    for (key, train, percent, test), own in arrays.items():
        other = arrays.get((reference.key, train, percent, test))
        if train == test or key == reference.key or other is None:
            continue
        seeds = [seed for seed in own.seeds if seed in other.seeds]
        ours, theirs = (
            array.values[[array.seeds.index(seed) for seed in seeds]] for array in (own, other)
        )
        if not seeds or ours.shape != theirs.shape:
            continue
        known = ~np.isnan(ours + theirs)
        if known.any():
            ours, theirs = (np.where(known, x, np.nan)[None] for x in (ours, theirs))
            gain = values.relative_gain(ours, theirs, metric)
            if gain is not None:
                found[key, train, percent, test] = gain[0]
    return found
