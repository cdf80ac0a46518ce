"""Statistics and spatial information of a dataset's samples."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.data.catalogue import Shelf
from bench.data.layout import SPLITS, Split
from bench.data.reader import Samples
from bench.progress import Progress
from bench.protocol import survey
from bench.protocol.spec import RULES
from bench.seismic.complexity import spatial_information

_CHUNK = 16


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Statistics of both splits. Standard deviations are over all values (n, not n − 1)."""

    dataset: str
    samples: int
    pressure_mean: tuple[float, ...]
    """For each of the five shots, over samples, time steps and receivers; so are the next three."""
    pressure_std: tuple[float, ...]
    pressure_min: tuple[float, ...]
    pressure_max: tuple[float, ...]
    velocity_mean_mps: float
    velocity_std_mps: float
    velocity_min_mps: float
    velocity_max_mps: float
    spatial_information_mps: float
    """Mean Sobel gradient magnitude of the maps in m/s per cell, see `spatial_information`."""
    mean_map_mae: float | None
    """Of predicting the mean training map for every test sample, on [-1, 1]: what a network has to
    beat. None where a split is missing."""


class _Moments:
    """Running mean, standard deviation and range of values (samples, groups, …)."""

    def __init__(self, groups: int) -> None:
        self.count = 0
        self.sum, self.squares = np.zeros(groups), np.zeros(groups)
        self.low, self.high = np.full(groups, np.inf), np.full(groups, -np.inf)

    def add(self, values: NDArray[np.float32]) -> None:
        flat = values.swapaxes(0, 1).reshape(len(self.sum), -1)
        exact = flat.astype(np.float64)
        self.count += flat.shape[1]
        self.sum += exact.sum(axis=1)
        self.squares += np.einsum("gv,gv->g", exact, exact)
        self.low = np.minimum(self.low, flat.min(axis=1))
        self.high = np.maximum(self.high, flat.max(axis=1))

    @property
    def mean(self) -> NDArray[np.float64]:
        return self.sum / self.count

    @property
    def std(self) -> NDArray[np.float64]:
        return np.sqrt(np.maximum(self.squares / self.count - self.mean**2, 0))


class _MeanMap:
    """The constant predictor: the mean of the training maps, tried on the test maps after them."""

    def __init__(self) -> None:
        self._sum, self._trained = np.zeros(survey.MAP_SHAPE), 0
        self._error, self._tested = 0.0, 0

    def add(self, split: Split, maps_mps: NDArray[np.float32]) -> None:
        if split == "train":
            self._sum += maps_mps.sum(axis=(0, 1), dtype=np.float64)
            self._trained += len(maps_mps)
        elif self._trained:
            constant = self._sum / self._trained
            self._error += float(np.abs(maps_mps - constant).mean(axis=(1, 2, 3)).sum())
            self._tested += len(maps_mps)

    @property
    def mae(self) -> float | None:
        low, high = RULES.velocity_scale_mps
        return self._error / self._tested * 2 / (high - low) if self._tested else None


def summarise(shelf: Shelf, *, limit: int | None = None, progress: Progress) -> Summary:
    """Read the samples of both splits, or about `limit` of them, evenly spaced.

    Raises `DataError` for files that are missing or wrong.
    """
    pressure, velocity = _Moments(survey.SHOTS), _Moments(1)
    information = 0.0
    mean_map = _MeanMap()
    opened = {s: Samples(shelf.folder, pairs) for s in SPLITS if (pairs := shelf.pairs(s))}
    total = sum(map(len, opened.values()))
    step = 1 if limit is None else max(1, -(-total // limit))
    chosen = {split: np.arange(0, len(samples), step) for split, samples in opened.items()}
    count = sum(map(len, chosen.values()))
    with progress.stage(f"read {shelf.dataset}", count, "samples") as advance:
        for split, rows in chosen.items():
            for start in range(0, len(rows), _CHUNK):
                part = rows[start : start + _CHUNK]
                maps = opened[split].maps(part)
                pressure.add(opened[split].records(part))
                velocity.add(maps)
                mean_map.add(split, maps)
                information += float(spatial_information(maps[:, 0]).sum())
                advance(len(part))
    return Summary(
        dataset=shelf.dataset,
        samples=count,
        pressure_mean=tuple(pressure.mean.tolist()),
        pressure_std=tuple(pressure.std.tolist()),
        pressure_min=tuple(pressure.low.tolist()),
        pressure_max=tuple(pressure.high.tolist()),
        velocity_mean_mps=float(velocity.mean[0]),
        velocity_std_mps=float(velocity.std[0]),
        velocity_min_mps=float(velocity.low[0]),
        velocity_max_mps=float(velocity.high[0]),
        spatial_information_mps=information / count,
        mean_map_mae=mean_map.mae,
    )
