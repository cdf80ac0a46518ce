"""Generation of a dataset: maps and simulated records in OpenFWI's layout, whole or absent."""

import hashlib
import io
import math
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import numpy as np
import torch
from numpy.typing import NDArray

from bench import seeds
from bench.data import manifest
from bench.data.layout import FilePair, all_files
from bench.data.manifest import Manifest
from bench.data.npy import SAMPLE_SHAPES, Content
from bench.errors import DataError, HomeError
from bench.protocol.spec import Data
from bench.seismic import generators, simulation

TYPES: dict[Content, np.dtype[np.floating]] = {
    "records": np.dtype("<f2"),
    "maps": np.dtype("<f4"),
}
"""Of the files. Half precision of the records moves MAE, RMSE or SSIM of no sample by more than
1e-4 (docs/LOG.md); training sees them in half precision in any case."""
BYTES_PER_SAMPLE = sum(TYPES[c].itemsize * math.prod(SAMPLE_SHAPES[c]) for c in TYPES)
_GIGABYTE = 1e9


def missing(folder: Path, dataset: str, data: Data) -> int:
    """Number of samples of a dataset that have yet to be simulated."""
    made = manifest.read(folder / dataset)
    pairs = all_files(dataset, data)
    return sum(p.samples for p in pairs if not _whole(folder / dataset, p, made))


def make(
    folder: Path, dataset: str, data: Data, *, device: torch.device, advance: Callable[[int], None]
) -> None:
    """Generate what is missing of one dataset below `folder`; reports samples to `advance`.

    Each file appears under its name only when it is whole and its hash is in the manifest, so that
    an interrupted call goes on with the first file that is not there. A sample depends on (data
    seed, dataset, number) alone. Raises `HomeError` where the files cannot be written.
    """
    target = folder / dataset
    made = manifest.read(target) or Manifest(dataset=dataset, data=data)
    check_space(folder, missing(folder, dataset, data) * BYTES_PER_SAMPLE)
    remove_parts(target)
    number = 0
    for pair in all_files(dataset, data):
        if not _whole(target, pair, made):
            with _new_pair(target, pair) as (append_records, append_maps, finish):
                velocity = velocity_maps(dataset, pair, seed=data.seed, first=number)
                append_maps(velocity)
                for part in np.array_split(velocity, -(-len(velocity) // simulation_batch(device))):
                    records = simulation.simulate(torch.from_numpy(part[:, 0]).to(device))
                    append_records(records.cpu().numpy())
                    advance(len(part))
                made = made.with_files(finish())
                made.write(target)
        number += pair.samples


def content_hash(folder: Path, dataset: str) -> str:
    """SHA-256 over the hashes of all files of a complete dataset."""
    made = manifest.read(folder / dataset)
    if made is None:
        raise DataError(f"{folder / dataset}: {dataset} has not been made; run `bench data make`.")
    return made.content_sha256


def velocity_maps(dataset: str, pair: FilePair, *, seed: int, first: int) -> NDArray[np.float32]:
    """The maps of one file, (samples, 1, 70, 70) m/s; `first` is the number of its first sample."""
    return np.stack(
        [
            generators.velocity_map(
                dataset,
                np.random.default_rng(seeds.derive(seed, "map", dataset, number)),
                layers=pair.layers,
            )[None]
            for number in range(first, first + pair.samples)
        ]
    )


def _whole(folder: Path, pair: FilePair, made: Manifest | None) -> bool:
    return made is not None and all(
        name in made.sha256 and (folder / name).exists() for name in (pair.records, pair.maps)
    )


def simulation_batch(device: torch.device) -> int:
    """Maps simulated at a time: a few per CPU thread, so that progress shows; more on a GPU."""
    return 4 * torch.get_num_threads() if device.type == "cpu" else 64


def check_space(folder: Path, needed: int) -> None:
    """Raise `HomeError` if the disk has less room than the bytes needed."""
    present = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(present).free
    if needed > free:
        raise HomeError(
            f"{folder}: the data need {needed / _GIGABYTE:.1f} GB, {free / _GIGABYTE:.1f} GB are "
            "free; free space or choose another --home."
        )


PART = ".part"
"""End of the name of a file that is being written."""
Append = Callable[[NDArray[np.float32]], None]
Finish = Callable[[], dict[str, str]]


@contextmanager
def _new_pair(folder: Path, pair: FilePair) -> Iterator[tuple[Append, Append, Finish]]:
    """Append to the two files of a pair; `finish` gives their SHA-256 by name.

    They get their names after the block has ended without an error, when all is on the disk; after
    an error nothing of them is left.
    """
    with (
        NewFile(folder / pair.records, "records", pair.samples) as records,
        NewFile(folder / pair.maps, "maps", pair.samples) as velocity,
    ):

        def finish() -> dict[str, str]:
            return {pair.records: records.close(), pair.maps: velocity.close()}

        yield records.append, velocity.append, finish
        records.rename()
        velocity.rename()


def remove_parts(folder: Path) -> None:
    """Remove files that killed writers left unfinished in a folder."""
    for path in folder.glob(f"**/.*{PART}"):
        path.unlink(missing_ok=True)


class NewFile:
    """A .npy file that grows under a temporary name, and its hash; its type is in `TYPES`.

    Plain writes, not a memory map: on a full disk they raise, where a map would kill the process.
    """

    def __init__(self, path: Path, content: Content, samples: int) -> None:
        self._path = path
        self._temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}{PART}")
        self._shape = (samples, *SAMPLE_SHAPES[content])
        self._type = TYPES[content]
        self._hash = hashlib.sha256()

    def __enter__(self) -> "NewFile":
        with _explained(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._temporary.open("wb", buffering=0)
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"descr": self._type.str, "fortran_order": False, "shape": self._shape}
        )
        try:
            self._write(header.getbuffer())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def append(self, part: NDArray[np.float32]) -> None:
        self._write(np.ascontiguousarray(part, dtype=self._type).data.cast("B"))

    def close(self) -> str:
        with _explained(self._path):
            os.fsync(self._file.fileno())
            self._file.close()
        return self._hash.hexdigest()

    def rename(self) -> None:
        with _explained(self._path):
            self._temporary.replace(self._path)

    def _write(self, content: memoryview) -> None:
        self._hash.update(content)
        with _explained(self._path):
            while content:  # an unbuffered write may be a short one
                content = content[self._file.write(content) :]


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HomeError(
            f"Cannot write {path}: {error.strerror or error}; free space or choose another --home. "
            "What is finished is kept."
        ) from error
