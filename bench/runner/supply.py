"""Generated data for whoever asks: made once in the home, or a few samples on the spot."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bench.data import generate, layout
from bench.data.catalogue import Shelf
from bench.data.layout import Split
from bench.data.reader import Samples
from bench.errors import ConfigError
from bench.progress import Progress
from bench.protocol import fingerprint
from bench.protocol.spec import Track
from bench.runner.workspace import Home
from bench.seismic import simulation

Pictures = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Maps (n, 70, 70) in m/s and their records (n, 5, 1000, 70)."""


def make(
    dataset: str, *, home: Home, track: Track, device: torch.device, progress: Progress
) -> Path:
    """Make what is missing of one dataset of a track, under a lock; returns its folder.

    Raises `ConfigError` for a track of real files, `HomeError` where files cannot be written.
    """
    root, data = folder(home, track), track.data

    def waiting() -> None:
        progress.say(f"Waiting for another process that makes {dataset} …")

    with home.lock(f"data-{root.name}-{dataset}", waiting):
        todo = generate.missing(root, dataset, data)
        with progress.stage(f"simulate {dataset}", todo, "records") as advance:
            generate.make(root, dataset, data, device=device, advance=advance)
    return root / dataset


def folder(home: Home, track: Track) -> Path:
    """Where a track's generated datasets lie. Raises `ConfigError` for a track of real files."""
    if track.data.source != "generated":
        raise ConfigError(
            f"Track '{track.name}' reads the real files, nothing is generated for it; "
            "name the folder of the files instead."
        )
    return home.data(fingerprint.data_key(track))


def read_samples(shelf: Shelf, split: Split, count: int) -> tuple[list[int], Pictures]:
    """`count` samples of a split, evenly spaced, from its files. Raises `DataError`."""
    samples = Samples(shelf.folder, shelf.pairs(split))
    numbers = _spread(len(samples), count)
    return numbers.tolist(), (samples.maps(numbers)[:, 0], samples.records(numbers))


def simulate_samples(
    dataset: str, track: Track, split: Split, count: int, *, device: torch.device
) -> tuple[list[int], Pictures]:
    """The same samples that the track's files hold, without making the files."""
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
    return numbers.tolist(), (velocity, records)


def _spread(total: int, count: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, total - 1, count).round().astype(np.int64))
