"""Errors of single test samples, for whoever asks where a method fails."""

from dataclasses import dataclass

import numpy as np

from bench.protocol.protocols import others
from bench.protocol.spec import CLEAN, TARGETS
from bench.seismic import metrics
from leaderboard.tables.boards import Board
from leaderboard.tables.variants import Variant

MPS = 1500.0
"""One unit on [-1, 1] in m/s."""


@dataclass(frozen=True, slots=True)
class SampleErrors:
    """MAE of every sample of one test set, m/s, mean over seeds, by method key."""

    train: str
    test: str
    errors: dict[str, list[float]]
    seeds: dict[str, int]


def cells(board: Board) -> list[SampleErrors]:
    """The cells of fits on all of a target, its own test set first."""
    column = board.samples.values[metrics.METRICS[0].column]
    found = []
    for train in TARGETS:
        for test in (train, *others(train)):
            parts = {}
            for key in sorted(v.key for v in board.variants):
                places = [
                    place
                    for run in board.run_ids(key, train, 100).values()
                    if (place := board.sampled.get((run, test, "test", CLEAN)))
                ]
                if places:
                    count = min(count for _, count in places)
                    values = np.stack([column[first : first + count] for first, _ in places])
                    known = ~np.isnan(values).any(axis=0)
                    parts[key] = values[:, known]
            if not parts:
                continue
            most = max(part.shape[1] for part in parts.values())
            errors = {
                key: (part.mean(axis=0, dtype=np.float64).astype(np.float32) * MPS).tolist()
                for key, part in parts.items()
                if part.shape[1] == most
            }
            seeds = {key: len(part) for key, part in parts.items()}
            found.append(SampleErrors(train, test, errors, seeds))
    return found


def methods(board: Board, found: list[SampleErrors]) -> list[Variant]:
    """The methods that have errors in any of these cells, in the board's order."""
    return [v for v in board.variants if any(v.key in cell.errors for cell in found)]
