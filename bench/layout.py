"""OpenFWI's folder layout: which files a dataset has, and which are for training and for testing.

Vel and Style: ``<Dataset>/data/data{i}.npy`` with ``<Dataset>/model/model{i}.npy``; Fault:
``<Dataset>/seis{L}_1_{i}.npy`` with ``<Dataset>/vel{L}_1_{i}.npy``, L the number of layers.
"""

from dataclasses import dataclass
from typing import Literal

from bench.errors import UnknownNameError
from bench.spec import DATASETS, Data

Split = Literal["train", "test"]
OFFICIAL_SAMPLES_PER_FILE = 500


@dataclass(frozen=True, kw_only=True)
class FilePair:
    """Records and the velocity maps they belong to; paths relative to the dataset's folder."""

    records: str
    maps: str
    samples: int
    layers: int | None = None


def layer_counts(dataset: str) -> tuple[int, ...] | None:
    """Layer counts that the file names of a Fault dataset carry; None for other families."""
    if "Fault" not in dataset:
        return None
    return (2, 3, 4) if dataset.endswith("_A") else (6, 7, 8)


def files(dataset: str, split: Split, data: Data) -> tuple[FilePair, ...]:
    """The files of one split of one dataset, in the order that numbers its samples."""
    if data.source == "generated":
        return generated(dataset, split, data)
    return official(dataset, split)


def official(dataset: str, split: Split) -> tuple[FilePair, ...]:
    """The official split of the real release: whole files of 500 samples."""
    _check(dataset)
    if "Vel" in dataset:
        numbers = range(1, 49) if split == "train" else range(49, 61)
    elif "Style" in dataset:
        numbers = range(1, 121) if split == "train" else range(121, 135)
    else:
        numbers = range(32) if split == "train" else range(32, 36)
    layers = layer_counts(dataset) or (None,)
    return tuple(
        _pair(number, count, OFFICIAL_SAMPLES_PER_FILE) for count in layers for number in numbers
    )


def generated(dataset: str, split: Split, data: Data) -> tuple[FilePair, ...]:
    """The files that a generated track has: same names, its own sizes; test files come last."""
    _check(dataset)
    if data.train is None or data.test is None:
        raise ValueError("A generated track states its numbers of samples.")
    layers = layer_counts(dataset) or (None,)
    pairs = []
    for position, count in enumerate(layers):
        sizes = [_share(total, position, len(layers)) for total in (data.train, data.test)]
        first = 1 if count is None else 0
        files = -(-sizes[0] // data.samples_per_file)
        start, total = (first, sizes[0]) if split == "train" else (first + files, sizes[1])
        for number, done in enumerate(range(0, total, data.samples_per_file), start=start):
            pairs.append(_pair(number, count, min(data.samples_per_file, total - done)))
    return tuple(pairs)


def _share(total: int, position: int, parts: int) -> int:
    """Split a total over equal parts; the first ones take the remainder."""
    return total // parts + (position < total % parts)


def _pair(number: int, layers: int | None, samples: int) -> FilePair:
    if layers is None:
        records, maps = f"data/data{number}.npy", f"model/model{number}.npy"
    else:
        records, maps = f"seis{layers}_1_{number}.npy", f"vel{layers}_1_{number}.npy"
    return FilePair(records=records, maps=maps, samples=samples, layers=layers)


def _check(dataset: str) -> None:
    if dataset not in DATASETS:
        raise UnknownNameError("dataset", dataset, DATASETS)
