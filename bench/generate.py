"""Makes a dataset's files: generated maps, simulated records, OpenFWI's layout, whole or absent."""

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bench import maps, physics, seeds, survey
from bench.errors import HomeError
from bench.layout import FilePair, generated
from bench.record import write_atomically
from bench.spec import Data

MANIFEST = "manifest.json"
"""Written last: SHA-256 of every file. A dataset with a manifest is complete."""

BYTES_PER_SAMPLE = 4 * (math.prod(survey.RECORD_SHAPE) + math.prod(survey.MAP_SHAPE))


def missing(folder: Path, dataset: str, data: Data) -> int:
    """How many samples of a dataset have yet to be simulated."""
    if (folder / dataset / MANIFEST).exists():
        return 0
    return sum(p.samples for p in _pairs(dataset, data) if not _whole(folder / dataset, p))


def make(
    folder: Path, dataset: str, data: Data, *, device: torch.device, advance: Callable[[int], None]
) -> None:
    """Make what is missing of one dataset below `folder`; `advance` hears of finished samples.

    Each file appears under its name only when it is whole, so that an interrupted call goes on
    with the first file that is not there. A sample depends on (data seed, dataset, number) alone.
    """
    target = folder / dataset
    if (target / MANIFEST).exists():
        return
    number = 0
    for pair in _pairs(dataset, data):
        if not _whole(target, pair):
            _make_pair(target, pair, dataset, data.seed, number, device, advance)
        number += pair.samples
    files = {
        name: _sha256(target / name)
        for pair in _pairs(dataset, data)
        for name in (pair.records, pair.maps)
    }
    manifest = {"dataset": dataset, "data": data.model_dump(mode="json"), "sha256": files}
    write_atomically(target / MANIFEST, json.dumps(manifest, indent=1).encode())


def content_hash(folder: Path, dataset: str) -> str:
    """SHA-256 of a complete dataset's manifest."""
    return _sha256(folder / dataset / MANIFEST)


def velocity_maps(dataset: str, pair: FilePair, *, seed: int, first: int) -> NDArray[np.float32]:
    """The maps of one file, (samples, 1, 70, 70) m/s; `first` is the number of its first sample."""
    return np.stack(
        [
            maps.velocity_map(
                dataset,
                np.random.default_rng(seeds.derive(seed, "map", dataset, number)),
                layers=pair.layers,
            )[None]
            for number in range(first, first + pair.samples)
        ]
    )


def _pairs(dataset: str, data: Data) -> tuple[FilePair, ...]:
    return generated(dataset, "train", data) + generated(dataset, "test", data)


def _whole(folder: Path, pair: FilePair) -> bool:
    return (folder / pair.maps).exists() and (folder / pair.records).exists()


def _make_pair(
    folder: Path,
    pair: FilePair,
    dataset: str,
    seed: int,
    first: int,
    device: torch.device,
    advance: Callable[[int], None],
) -> None:
    velocity = velocity_maps(dataset, pair, seed=seed, first=first)
    with _new_array(folder / pair.maps, velocity.shape) as append:
        append(velocity)
    # On a CPU four maps keep twenty shots in cache and the progress alive; a GPU wants more
    batch = 4 if device.type == "cpu" else 64
    with _new_array(folder / pair.records, (pair.samples, *survey.RECORD_SHAPE)) as append:
        for start in range(0, pair.samples, batch):
            part = torch.from_numpy(velocity[start : start + batch, 0]).to(device)
            append(physics.simulate(part).cpu().numpy())
            advance(len(part))


@contextmanager
def _new_array(
    path: Path, shape: tuple[int, ...]
) -> Iterator[Callable[[NDArray[np.float32]], None]]:
    """Append parts to a float32 .npy file; it gets its name only when all is written.

    Plain writes, not a memory map: on a full disk they raise, where a map would kill the process.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            yield lambda part: part.astype("<f4", copy=False).tofile(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise HomeError(
            f"Cannot write {path}: {error.strerror or error}; free space or choose another --home. "
            "What is finished is kept."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
