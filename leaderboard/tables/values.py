"""Per-sample scores of several methods as one array for `leaderboard.stats`."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.protocol.protocols import Protocol
from bench.protocol.spec import TestSet
from bench.seismic.metrics import Metric
from leaderboard.stats.estimates import Floats, Moments, moments
from leaderboard.tables.boards import Board, Place
from leaderboard.tables.variants import Variant

Maps = tuple[str, str]
"""Dataset and split: what test sets that differ only in their records have in common."""


@dataclass(frozen=True, eq=False)
class ScoreArray:
    """Weighted per-sample values, axes (method, seed, sample), and the set that each sample is of.

    A changed acquisition records the same maps again: their scores are not independent, and a
    sample's value here is the sum over conditions.
    """

    methods: Floats
    strata: NDArray[np.intp]

    def moments(self) -> Moments:
        return moments(self.methods, self.strata)


@dataclass(frozen=True, eq=False, slots=True)
class _Cell:
    """One cell: values (method, seed, sample) of the samples that are known for all methods."""

    test: TestSet
    values: Floats
    known: NDArray[np.bool_]
    """(all samples)"""


def scores(
    board: Board,
    variants: Sequence[Variant],
    protocol: Protocol,
    seeds: Sequence[int],
    metric: Metric,
) -> ScoreArray | None:
    """Scores averaged over the cells of a protocol; None where per-sample scores are not all known.

    A root of a mean (RMSE) is a smooth function of the mean, and enters with its derivative (the
    delta method), so that the mean of the values is the score itself.
    """
    cells = _cells(board, variants, protocol, seeds, metric)
    return None if cells is None else _averaged((cell.test, cell.values) for cell in cells)


def gains(
    board: Board,
    variants: Sequence[Variant],
    protocol: Protocol,
    seeds: Sequence[int],
    metric: Metric,
    reference: Variant,
) -> ScoreArray | None:
    """Gains over a reference method in per cent, averaged over cells, as the paper's bars.

    100·(reference − method)/reference where lower is better, 100·(method − reference)/reference
    where higher is, linearised at the cells' means over seeds and samples. None where per-sample
    scores are not all known or the reference scores 0 in a cell.
    """
    cells = _cells(board, [*variants, reference], protocol, seeds, metric)
    if cells is None:
        return None
    return _averaged(
        (cell.test, relative_gain(cell.values[:-1], cell.values[-1:], metric)) for cell in cells
    )


def relative_gain(values: Floats, other: Floats, metric: Metric) -> Floats | None:
    """Gain in per cent of (method, seed, sample) over (1, seed, sample), linearised at the means.

    The means are those over seeds and samples. None where the other's is 0.
    """
    if (_mean(other, (1, 2)) == 0).any():
        return None
    sign = -100.0 if metric.better == "lower" else 100.0
    return sign * (_ratio(values, other) - 1)


def ratios_to_floor(
    board: Board,
    variants: Sequence[Variant],
    protocol: Protocol,
    seeds: Sequence[int],
    metric: Metric,
) -> ScoreArray | None:
    """Scores as ratios to the floor of each test dataset, averaged over cells; linearised alike."""
    cells = _cells(board, variants, protocol, seeds, metric)
    if cells is None:
        return None
    return _averaged((cell.test, _over_floor(board, cell, metric)) for cell in cells)


def linear(values: Floats, metric: Metric) -> Floats:
    """Values whose mean over the last axis, the samples, is the score of a cell."""
    if metric.aggregate == "mean":
        return values
    mean = _mean(values, -1)
    root = np.sqrt(mean)
    slope = np.divide(values - mean, 2 * root, out=np.zeros_like(values), where=root > 0)
    scores: Floats = root + slope
    return scores


def _mean(values: Floats, axes: int | tuple[int, ...]) -> Floats:
    """Means of the known values over axes, which are kept."""
    average = np.nanmean if np.isnan(values).any() else np.mean
    mean: Floats = average(values, axis=axes, keepdims=True)
    return mean


def _ratio(values: Floats, other: Floats) -> Floats:
    """Ratio of (method, seed, sample) to (1, seed, sample), linearised at the means over both."""
    other_mean = _mean(other, (1, 2))
    ratio = _mean(values, (1, 2)) / other_mean
    ratios: Floats = ratio + (values - ratio * other) / other_mean
    return ratios


def _cells(
    board: Board,
    variants: Sequence[Variant],
    protocol: Protocol,
    seeds: Sequence[int],
    metric: Metric,
) -> Iterator[_Cell] | None:
    """The cells of a protocol, linear in the score; None where samples are not all there.

    A sample that is undefined for one method is left out for all; None if that is every one. One
    cell after the other: all of a protocol's together are large.
    """
    places = _places(board, variants, protocol, seeds)
    if places is None:
        return None
    column = board.samples.values[metric.column]
    if len({(_maps(place.test), place.count) for place in places}) > len(
        {_maps(place.test) for place in places}
    ):
        return None  # not all samples under all conditions
    known: dict[Maps, NDArray[np.bool_]] = {}
    for place in places:
        defined = np.logical_not(np.isnan(_gathered(column, place)).any(axis=(0, 1)))
        maps = _maps(place.test)
        known[maps] = np.logical_and(defined, known.get(maps, defined))
    if not all(defined.any() for defined in known.values()):
        return None
    return (_cell(column, place, known[_maps(place.test)], metric) for place in places)


def _cell(
    column: NDArray[np.float32], place: Place, known: NDArray[np.bool_], metric: Metric
) -> _Cell:
    values = _gathered(column, place)[..., known].astype(np.float64)
    return _Cell(place.test, linear(values, metric), known)


def _gathered(column: NDArray[np.float32], place: Place) -> NDArray[np.float32]:
    """(method, seed, sample) values."""
    values: NDArray[np.float32] = column[place.firsts[..., None] + np.arange(place.count)]
    return values


def _places(
    board: Board, variants: Sequence[Variant], protocol: Protocol, seeds: Sequence[int]
) -> tuple[Place, ...] | None:
    """The samples of each cell; None unless all methods and seeds have as many of them."""
    keys = tuple(v.key for v in variants)
    key = (protocol.name, keys, tuple(seeds))
    if key not in board.places:
        board.places[key] = _found(board, keys, protocol, sorted(seeds))
    return board.places[key]


def _found(
    board: Board, keys: Sequence[str], protocol: Protocol, seeds: Sequence[int]
) -> tuple[Place, ...] | None:
    if not keys or not seeds:
        return None
    found = []
    for slot in protocol.fits:
        runs = [board.run_ids(key, slot.datasets[0], slot.percent) for key in keys]
        if slot.holdout or not all(seed in by_seed for by_seed in runs for seed in seeds):
            return None
        for test in slot.tests:
            cells = [
                board.sampled.get((by_seed[seed], test.dataset, test.split, test.condition))
                for by_seed in runs
                for seed in seeds
            ]
            counts = {cell[1] for cell in cells if cell}
            if None in cells or len(counts) != 1:
                return None
            firsts = np.array([cell[0] for cell in cells if cell])
            found.append(Place(test, firsts.reshape(len(keys), len(seeds)), counts.pop()))
    return tuple(found)


def _over_floor(board: Board, cell: _Cell, metric: Metric) -> Floats | None:
    """Ratios of a cell to the floor of its dataset; None where that is not known."""
    floor = _floor(board, cell, metric)
    return None if floor is None else _ratio(cell.values, floor)


def _floor(board: Board, cell: _Cell, metric: Metric) -> Floats | None:
    """(1, 1, sample) scores of the floor of the cell's dataset; None where they are not known."""
    places = board.floor_samples.get(cell.test.dataset, [])
    if len(places) != 1:
        return None
    ((first, count),) = places
    values = board.samples.values[metric.column][first : first + count].astype(np.float64)
    if count != len(cell.known) or np.isnan(values).any():
        return None
    return linear(values, metric)[None, None, cell.known]


def _averaged(cells: Iterable[tuple[TestSet, Floats | None]]) -> ScoreArray | None:
    """Means over cells, sets of maps in their order; None where one has fewer than two samples.

    None too where the values of a cell are not known.
    """
    sums: dict[Maps, Floats] = {}
    total = 0
    for test, values in cells:
        if values is None:
            return None
        maps = _maps(test)
        sums[maps] = sums[maps] + values if maps in sums else values
        total += 1
    order = sorted(sums)
    counts = [sums[maps].shape[2] for maps in order]
    if not counts or min(counts) < 2:
        return None
    strata = np.repeat(np.arange(len(order)), counts)
    return ScoreArray(np.concatenate([sums[maps] for maps in order], axis=2) / total, strata)


def _maps(test: TestSet) -> Maps:
    return test.dataset, test.split
