"""A few samples of a dataset, for pictures and statistics."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from bench.data import generate, layout
from bench.data.catalogue import Shelf
from bench.data.layout import Split
from bench.data.reader import Samples
from bench.protocol.spec import Track
from bench.seismic import simulation

Pictures = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Maps (n, 70, 70) in m/s and their records (n, 5, 1000, 70)."""


def read_samples(shelf: Shelf, split: Split, count: int) -> tuple[list[int], Pictures]:
    """`count` samples of a split, evenly spaced, from its files. Raises `DataError`."""
    samples = Samples(shelf.folder, shelf.pairs(split))
    numbers = _spread(len(samples), count)
    return numbers.tolist(), (samples.maps(numbers)[:, 0], samples.records(numbers))


def simulate_samples(
    dataset: str, track: Track, split: Split, count: int, *, device: torch.device
) -> tuple[list[int], Pictures]:
    """Samples of a track, simulated in memory: equal to those in its files."""
    pairs = layout.files(dataset, split, track.data)
    before = 0
    if split == "test":
        before = sum(p.samples for p in layout.files(dataset, "train", track.data))
    ends = np.cumsum([p.samples for p in pairs])
    numbers = _spread(int(ends[-1]), count)
    velocity = np.concatenate(
        [
            generate.velocity_maps(
                dataset,
                replace(pairs[int(np.searchsorted(ends, number, side="right"))], samples=1),
                seed=track.data.seed,
                first=before + number,
            )
            for number in numbers.tolist()
        ]
    )[:, 0]
    records = simulation.simulate(torch.from_numpy(velocity).to(device)).cpu().numpy()
    records = records.astype(generate.TYPES["records"]).astype(np.float32)
    return numbers.tolist(), (velocity, records)


def _spread(total: int, count: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, total - 1, count).round().astype(np.int64))
