"""OpenFWI's folder layout: which files a dataset has, and which are for training and for testing.

Vel and Style: ``<Dataset>/data/data{i}.npy`` with ``<Dataset>/model/model{i}.npy``; Fault:
``<Dataset>/seis{L}_1_{i}.npy`` with ``<Dataset>/vel{L}_1_{i}.npy``, L the number of layers. Copies
of the data spell the folders in several ways: ``FlatVel_A``, ``flatvel-a``, ``FlatVel-A``.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from bench.errors import DataError, UnknownNameError
from bench.protocol.spec import DATASETS, Data

Split = Literal["train", "test"]
SPLITS: Final[tuple[Split, ...]] = ("train", "test")
OFFICIAL_SAMPLES_PER_FILE = 500
_KAGGLE = "train_samples"
"""The folder of datasets in the Kaggle edition."""
_NAME = re.compile(r"data/data(\d+)\.npy|seis(\d+)_1_(\d+)\.npy")
ANY_FLOAT = ("<f4", "<f2", "<f8")
"""numpy types of the values in files that a track names."""


@dataclass(frozen=True, kw_only=True)
class FilePair:
    """Records and the velocity maps they belong to; paths relative to the dataset's folder."""

    records: str
    maps: str
    samples: int
    layers: int | None = None
    record_types: tuple[str, ...] = ("<f4",)
    map_types: tuple[str, ...] = ("<f4",)
    """numpy types that the values may have."""
    records_part: "Part | None" = None
    maps_part: "Part | None" = None
    """Where the samples lie in the file; None: they are all of it."""
    generated: bool = False
    """Whether this program can make the files again."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """The place of samples in a file that holds more."""

    first: int
    held: int
    """Number of samples in the file."""


def layer_counts(dataset: str) -> tuple[int, ...] | None:
    """Layer counts that the file names of a Fault dataset carry; None for other families."""
    if "Fault" not in dataset:
        return None
    return (2, 3, 4) if dataset.endswith("_A") else (6, 7, 8)


def files(dataset: str, split: Split, data: Data) -> tuple[FilePair, ...]:
    """The files of one split of one dataset, in the order that numbers its samples.

    The official split, unless the data state their own numbers of samples.
    """
    if data.files is not None:
        return listed(dataset, split, data)
    if data.source == "files" and data.train_samples(dataset) is None and data.test is None:
        return official(dataset, split)
    return generated(dataset, split, data)


def all_files(dataset: str, data: Data) -> tuple[FilePair, ...]:
    """The files of both splits, training first."""
    return tuple(pair for split in SPLITS for pair in files(dataset, split, data))


def size(dataset: str, split: Split, data: Data) -> int:
    """Number of samples of a split."""
    return sum(pair.samples for pair in files(dataset, split, data))


def dataset_named(text: str) -> str:
    """The dataset that `text` spells, whatever its case, dashes and underscores.

    Raises `UnknownNameError`.
    """
    for dataset in DATASETS:
        if _plain(dataset) == _plain(text):
            return dataset
    raise UnknownNameError("dataset", text, DATASETS)


def find_folder(root: Path, dataset: str) -> Path | None:
    """The dataset's folder below `root`, whatever its case, dashes and underscores; None if absent.

    Raises `DataError` if `root` cannot be listed, or holds several such folders.
    """
    _check(dataset)
    try:
        found = [p for p in root.iterdir() if _plain(p.name) == _plain(dataset) and p.is_dir()]
    except OSError as error:
        raise DataError(
            f"Data folder {root} cannot be read: {error.strerror or error}; name the folder that "
            "holds FlatVel_A, Style_B, …"
        ) from error
    if len(found) > 1:
        names = " and ".join(sorted(p.name for p in found))
        raise DataError(f"{root}: {names} are both {dataset}; rename one or move it away.")
    if not found and (root / _KAGGLE).is_dir():
        return find_folder(root / _KAGGLE, dataset)
    return found[0] if found else None


def folder(root: Path, dataset: str) -> Path:
    """The dataset's folder below `root`; raises `DataError` if `find_folder` finds none."""
    found = find_folder(root, dataset)
    if found is None:
        raise DataError(f"{root / dataset}: the folder is missing; fetch or make {dataset}.")
    return found


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
        _pair(dataset, number, count, OFFICIAL_SAMPLES_PER_FILE)
        for count in layers
        for number in numbers
    )


def generated(dataset: str, split: Split, data: Data) -> tuple[FilePair, ...]:
    """The files of a track with its own sizes: the release's names; test files come last."""
    _check(dataset)
    train = data.train_samples(dataset)
    if train is None or data.test is None:
        raise DataError(
            "These data state only one of their numbers of samples; a track needs both, data.train "
            "and data.test, or for real files neither."
        )
    layers = layer_counts(dataset) or (None,)
    pairs = []
    for position, count in enumerate(layers):
        sizes = [_share(total, position, len(layers)) for total in (train, data.test)]
        first = 1 if count is None else 0
        files = -(-sizes[0] // data.samples_per_file)
        start, total = (first, sizes[0]) if split == "train" else (first + files, sizes[1])
        for number, done in enumerate(range(0, total, data.samples_per_file), start=start):
            size = min(data.samples_per_file, total - done)
            pair = _pair(dataset, number, count, size)
            made = data.source == "generated"
            types = ("<f2", "<f4") if made else pair.record_types
            pairs.append(replace(pair, record_types=types, generated=made))
    return tuple(pairs)


def listed(dataset: str, split: Split, data: Data) -> tuple[FilePair, ...]:
    """The files that a track names, each split into a part to train on and its end to test on."""
    _check(dataset)
    named = (data.files or {}).get(dataset)
    if not named:
        raise DataError(
            f"The track names no files of {dataset}; write one with `bench data track` where they "
            "are."
        )
    pairs = []
    for records, held in sorted(named.items(), key=lambda item: number_of(item[0]) or ()):
        tested = data.tested(held)
        first, samples = (0, held - tested) if split == "train" else (held - tested, tested)
        part = Part(first=first, held=held)
        pair = FilePair(
            records=records,
            maps=maps_of(records),
            samples=samples,
            record_types=ANY_FLOAT,
            map_types=ANY_FLOAT,
            records_part=part,
            maps_part=part,
        )
        pairs.append(pair)
    return tuple(pairs)


def number_of(records: str) -> tuple[int, ...] | None:
    """The numbers in the name of a file of records, by which files are ordered; None: it is none.

    ``data/data12.npy`` has (12,), ``seis4_1_0.npy`` (4, 0).
    """
    match = _NAME.fullmatch(records)
    return tuple(int(number) for number in match.groups() if number) if match else None


def maps_of(records: str) -> str:
    """The file of maps of a file of records."""
    return records.replace("data/data", "model/model").replace("seis", "vel")


def _share(total: int, position: int, parts: int) -> int:
    """Split a total over equal parts; the first ones take the remainder."""
    return total // parts + (position < total % parts)


def _pair(dataset: str, number: int, layers: int | None, samples: int) -> FilePair:
    if layers is None:
        records, maps = f"data/data{number}.npy", f"model/model{number}.npy"
    else:
        records, maps = f"seis{layers}_1_{number}.npy", f"vel{layers}_1_{number}.npy"
    # The published statistics of Style_A were taken from maps of 64 bits
    types = ("<f4", "<f8") if "Style" in dataset else ("<f4",)
    return FilePair(records=records, maps=maps, samples=samples, layers=layers, map_types=types)


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


def _check(dataset: str) -> None:
    if dataset not in DATASETS:
        raise UnknownNameError("dataset", dataset, DATASETS)
