"""Checks of a folder of datasets: missing files, faulty files, values out of range."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch

from bench.data.catalogue import Shelf, shelf
from bench.data.layout import SPLITS, FilePair
from bench.data.npy import FileError, NpyFile, sha256
from bench.errors import DataError
from bench.progress import Advance, Progress
from bench.protocol.spec import Data
from bench.seismic import simulation

T = TypeVar("T")
R = TypeVar("R")
Depth = Literal["full", "quick"]
QUICK_SAMPLES = 4
"""Samples of a file whose values a quick check reads."""
MISMATCH = 0.02
"""Relative L2 from which a record does not belong to its map; the real record has 0.0015."""
_CHUNK = 8
_SIMULATED_AT_A_TIME = 16


@dataclass(kw_only=True)
class Inspection:
    """Findings about one dataset."""

    dataset: str
    folder: Path | None
    """None: there is no such folder."""
    generated: bool = False
    files: int = 0
    """Files whose header and size are right."""
    files_expected: int = 0
    train: int = 0
    """Samples of the training split in such files, both record and map."""
    test: int = 0
    simulated: int = 0
    """Samples whose record was compared with a simulation of their map."""
    errors: list[DataError] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.errors


Opened = tuple[FilePair, NpyFile, NpyFile]


def inspect(
    root: Path,
    dataset: str,
    data: Data | None = None,
    *,
    depth: Depth = "full",
    device: torch.device,
    progress: Progress,
) -> Inspection:
    """Check one dataset below `root`; `data` as in `catalogue.shelf`.

    Headers and sizes of all files; the values of all samples, or in a quick check of four a file;
    of generated files the hash; and in each file one sample's record is simulated from its map.
    Nothing is raised for what is wrong with the files; it is in the report.
    """
    try:
        found = shelf(root, dataset, data)
    except DataError as error:
        return Inspection(dataset=dataset, folder=root, errors=[error])
    if found is None:
        return Inspection(dataset=dataset, folder=None)
    report = Inspection(dataset=dataset, folder=found.folder, generated=found.manifest is not None)
    pairs = _open_all(found, report)
    sound = _scan(pairs, report, depth, progress)
    if found.manifest is not None:
        report.errors.extend(changed_files(found, progress))
    _simulate(sound, report, device, progress)
    return report


def _open_all(found: Shelf, report: Inspection) -> list[Opened]:
    opened = []
    for split in SPLITS:
        for pair in found.pairs(split):
            records = _open(found.folder / pair.records, "records", pair)
            maps = _open(found.folder / pair.maps, "maps", pair)
            report.files_expected += 2
            if isinstance(records, NpyFile) and isinstance(maps, NpyFile):
                opened.append((pair, records, maps))
                report.files += 2
                report.train += pair.samples * (split == "train")
                report.test += pair.samples * (split == "test")
                continue
            report.files += isinstance(records, NpyFile) or isinstance(maps, NpyFile)
            report.errors.extend(_what_is_wrong(records, maps))
    return opened


def _open(path: Path, content: Literal["records", "maps"], pair: FilePair) -> NpyFile | FileError:
    types = pair.map_types if content == "maps" else pair.record_types
    try:
        return NpyFile.open(path, content, pair.samples, types=types)
    except FileError as error:
        return error


def _what_is_wrong(records: NpyFile | FileError, maps: NpyFile | FileError) -> Iterator[FileError]:
    """The errors of a pair; one file missing where the other is there is a pair broken."""
    for here, other in ((records, maps), (maps, records)):
        if not isinstance(here, FileError):
            continue
        alone = not (isinstance(other, FileError) and other.fault == "missing")
        if here.fault == "missing" and alone:
            there = f"{other.path.parent.name}/{other.path.name}"
            yield FileError("unpaired", here.path, f"the file is missing, but {there} is there")
        else:
            yield here


def _scan(
    pairs: Sequence[Opened], report: Inspection, depth: Depth, progress: Progress
) -> list[Opened]:
    """Look at values; returns the pairs without a fault."""

    def look(opened: Opened, advance: Advance) -> list[FileError]:
        pair, records, maps = opened
        rows = _rows(pair.samples, depth)
        found: list[FileError] = []
        for part in np.array_split(rows, -(-len(rows) // _CHUNK)):
            found += maps.scan(part) + records.scan(part)
            advance(len(part))
        return found

    total = sum(len(_rows(pair.samples, depth)) for pair, _, _ in pairs)
    with progress.stage(f"check {report.dataset}", total, "samples") as advance:
        errors = _in_threads(lambda opened: look(opened, advance), pairs)
    sound = []
    for opened, found in zip(pairs, errors, strict=True):
        report.errors.extend(found)
        if not found:
            sound.append(opened)
    return sound


def _rows(samples: int, depth: Depth) -> np.ndarray:
    if depth == "full":
        return np.arange(samples)
    return np.unique(np.linspace(0, samples - 1, QUICK_SAMPLES).astype(np.int64))


def changed_files(found: Shelf, progress: Progress) -> list[FileError]:
    """Generated files that are no longer what was made, or that were not made by the harness."""
    known = found.manifest.sha256 if found.manifest else {}
    names = [n for s in SPLITS for p in found.pairs(s) for n in (p.records, p.maps)]
    there = [name for name in names if (found.folder / name).exists()]

    def compare(name: str, advance: Advance) -> FileError | None:
        file = found.folder / name
        try:
            if name not in known:
                return FileError("changed", file, "is not in the manifest")
            if sha256(file) != known[name]:
                return FileError(
                    "changed", file, "has changed since it was made (its hash differs)"
                )
        except FileError as error:
            return error
        finally:
            advance(1)
        return None

    with progress.stage(f"verify {found.dataset}", len(there), "files") as advance:
        results = _in_threads(lambda name: compare(name, advance), there)
    return [error for error in results if error]


def _simulate(
    pairs: Sequence[Opened], report: Inspection, device: torch.device, progress: Progress
) -> None:
    """Compare one sample of each file, the one in the middle, with a simulation of its map."""
    with progress.stage(f"simulate {report.dataset}", len(pairs), "records") as advance:
        for start in range(0, len(pairs), _SIMULATED_AT_A_TIME):
            part = pairs[start : start + _SIMULATED_AT_A_TIME]
            try:
                report.errors.extend(_mismatches(part, device))
                report.simulated += len(part)
            except FileError as error:  # a quick check has not read these samples before
                report.errors.append(error)
            advance(len(part))


def _mismatches(pairs: Sequence[Opened], device: torch.device) -> Iterator[FileError]:
    rows = [[pair.samples // 2] for pair, _, _ in pairs]
    velocity = np.concatenate(
        [maps.read(row) for (_, _, maps), row in zip(pairs, rows, strict=True)]
    )
    expected = simulation.simulate(torch.from_numpy(velocity[:, 0]).to(device)).cpu().numpy()
    for (pair, records, _), row, want in zip(pairs, rows, expected, strict=True):
        off = float(np.linalg.norm(records.read(row)[0] - want) / np.linalg.norm(want))
        if off > MISMATCH:
            what = f"does not belong to its map in {pair.maps} (relative L2 {off:.2g})"
            yield FileError("mismatch", records.path, what, sample=row[0])


def _in_threads(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Map in order, on threads: reading and hashing release the interpreter lock."""
    with ThreadPoolExecutor(max(2, torch.get_num_threads())) as pool:
        return list(pool.map(work, items))
