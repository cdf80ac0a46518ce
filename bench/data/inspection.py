"""Checks of a folder of datasets: missing files, faulty files, values out of range."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from bench.data.catalogue import Shelf, shelf
from bench.data.identity import FileHash, FileState
from bench.data.layout import SPLITS, FilePair
from bench.data.npy import Content, FileError, NpyFile, sha256
from bench.data.reader import open_file
from bench.errors import DataError
from bench.progress import Advance, Progress
from bench.protocol.spec import Data
from bench.seismic import simulation

T = TypeVar("T")
R = TypeVar("R")
Depth = Literal["quick", "full", "thorough"]
QUICK_SAMPLES = 4
"""Samples of a file whose values a quick check reads."""
SIMULATED: dict[Depth, int] = {"quick": 1, "full": 3, "thorough": 25}
"""Samples of a file whose records are simulated anew; first, middle and last among the three."""
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
    hashes: dict[str, FileHash] = field(default_factory=dict)
    """By name, of the files that were read as a whole."""
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

    Headers and sizes of all files; the values of all samples, or in a quick check of four a file,
    and that no two are the same, in either split; of generated files the hash; and of some samples
    of each file the record is simulated from its map. Nothing is raised for what is wrong with the
    files; it is in the report.
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
        report.errors.extend(_changed_since_made(found, pairs, report, progress))
    _simulate(sound, report, depth, device, progress)
    return report


def _open_all(found: Shelf, report: Inspection) -> list[Opened]:
    opened: dict[str, Opened | None] = {}
    for split in SPLITS:
        for pair in found.pairs(split):
            if pair.records not in opened:  # else a part of it has been seen
                opened[pair.records] = _open_pair(found.folder, pair, report)
            if opened[pair.records]:
                report.train += pair.samples * (split == "train")
                report.test += pair.samples * (split == "test")
    return [both for both in opened.values() if both]


def _open_pair(folder: Path, pair: FilePair, report: Inspection) -> Opened | None:
    records, maps = _open(folder, pair, "records"), _open(folder, pair, "maps")
    report.files_expected += 2
    if isinstance(records, NpyFile) and isinstance(maps, NpyFile):
        report.files += 2
        return pair, records, maps
    report.files += isinstance(records, NpyFile) or isinstance(maps, NpyFile)
    report.errors.extend(_what_is_wrong(records, maps))
    return None


def _open(folder: Path, pair: FilePair, content: Content) -> NpyFile | FileError:
    try:
        return open_file(folder, pair, content)
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
            what = f"the file is missing, but {there} is there"
            yield FileError("unpaired", here.path, what, generated=here.generated)
        else:
            yield here


@dataclass(frozen=True, kw_only=True)
class _Scanned:
    """What reading a pair of files has brought."""

    faults: list[FileError]
    samples: dict[Content, list[bytes]]
    """Digests of the samples, in order."""
    hashes: dict[str, FileHash]


def _scan(
    pairs: Sequence[Opened], report: Inspection, depth: Depth, progress: Progress
) -> list[Opened]:
    """Look at values; returns the pairs without a fault."""
    total = sum(len(_rows(records.samples, depth)) for _, records, _ in pairs)
    with progress.stage(f"check {report.dataset}", total, "samples") as advance:
        scanned = _in_threads(lambda opened: _look(opened, depth, advance), pairs)
    sound = []
    first: dict[tuple[Content, bytes], tuple[NpyFile, int]] = {}
    for opened, found in zip(pairs, scanned, strict=True):
        faults = found.faults
        if depth != "quick" and not faults:
            faults = list(_duplicates(opened, found, first))
        report.hashes |= found.hashes
        report.errors.extend(faults)
        if not faults:
            sound.append(opened)
    return sound


def _look(opened: Opened, depth: Depth, advance: Advance) -> _Scanned:
    """Read the values of a pair of files, in a full check all of them and their hashes."""
    pair, records, maps = opened
    files = ((pair.maps, maps), (pair.records, records))
    states = {name: FileState.of(file.path) for name, file in files}
    faults: list[FileError] = []
    samples: dict[Content, list[bytes]] = {"records": [], "maps": []}
    whole: dict[str, Any] = {}
    try:
        whole = {name: hashlib.sha256(file.header()) for name, file in files}
    except FileError as fault:
        return _Scanned(faults=[fault], samples=samples, hashes={})
    rows = _rows(records.samples, depth)
    for part in np.array_split(rows, -(-len(rows) // _CHUNK)):
        for name, file in files:
            found, block = file.scan(part)
            faults += found
            if block is None:
                return _Scanned(faults=faults, samples=samples, hashes={})
            whole[name].update(block.data)
            samples[file.content] += [hashlib.sha256(sample.data).digest() for sample in block]
        advance(len(part))
    read = depth != "quick"
    hashes = {
        name: FileHash(state=state, sha256=whole[name].hexdigest())
        for name, state in states.items()
        if read and state
    }
    return _Scanned(faults=faults, samples=samples, hashes=hashes)


def _duplicates(
    opened: Opened, found: _Scanned, first: dict[tuple[Content, bytes], tuple[NpyFile, int]]
) -> Iterator[FileError]:
    """Samples that were there before, in this file or another; `first` is where each was seen."""
    pair, records, maps = opened
    for row, both in enumerate(zip(found.samples["records"], found.samples["maps"], strict=True)):
        for file, digest in zip((records, maps), both, strict=True):
            other, there = first.setdefault((file.content, digest), (file, row))
            if (other, there) != (file, row):
                noun = "record" if file is records else "map"
                what = f"has the same {noun} as sample {there} of {other.path}"
                yield FileError("duplicate", file.path, what, sample=row, generated=pair.generated)
                break  # the other half of the sample is no news


def _rows(samples: int, depth: Depth) -> NDArray[np.int64]:
    return np.arange(samples) if depth != "quick" else _spread(samples, QUICK_SAMPLES)


def _spread(samples: int, count: int) -> NDArray[np.int64]:
    """Evenly spaced samples, the first and the last among them; of one, that in the middle."""
    if count == 1:
        return np.array([samples // 2])
    return np.unique(np.linspace(0, samples - 1, count).round().astype(np.int64))


def _changed_since_made(
    found: Shelf, pairs: Sequence[Opened], report: Inspection, progress: Progress
) -> list[FileError]:
    names = [name for pair, _, _ in pairs for name in (pair.records, pair.maps)]
    hashes = {name: known.sha256 for name, known in report.hashes.items()}
    errors: list[FileError] = []
    with progress.stage(f"verify {found.dataset}", len(names), "files") as advance:
        for name in names:
            try:
                if name not in hashes:  # a quick check has not read all of it
                    hashes[name] = sha256(found.folder / name, generated=True)
            except FileError as error:
                errors.append(error)
            advance(1)
    return errors + changed_files(found, hashes)


def changed_files(found: Shelf, hashes: Mapping[str, str]) -> list[FileError]:
    """Generated files that are no longer what was made, or that were not made by the harness.

    `hashes` are the SHA-256 of the files as they are now, by name.
    """
    made = found.manifest.sha256 if found.manifest else {}
    errors = []
    for name, now in hashes.items():
        if name not in made:
            what = "is not in the manifest"
        elif now != made[name]:
            what = "has changed since it was made (its hash differs)"
        else:
            continue
        errors.append(FileError("changed", found.folder / name, what, generated=True))
    return errors


def _simulate(
    pairs: Sequence[Opened],
    report: Inspection,
    depth: Depth,
    device: torch.device,
    progress: Progress,
) -> None:
    """Compare some samples of each file with a simulation of their maps."""
    todo = [
        (opened, row)
        for opened in pairs
        for row in _spread(opened[1].samples, SIMULATED[depth]).tolist()
    ]
    wrong: set[Path] = set()
    with progress.stage(f"simulate {report.dataset}", len(todo), "records") as advance:
        for start in range(0, len(todo), _SIMULATED_AT_A_TIME):
            part = todo[start : start + _SIMULATED_AT_A_TIME]
            try:
                for error in _mismatches(part, device):
                    if error.path not in wrong:  # one for each file
                        report.errors.append(error)
                    wrong.add(error.path)
                report.simulated += len(part)
            except FileError as error:  # a quick check has not read these samples before
                report.errors.append(error)
            advance(len(part))


def _mismatches(samples: Sequence[tuple[Opened, int]], device: torch.device) -> Iterator[FileError]:
    velocity = np.concatenate([maps.read([row]) for (_, _, maps), row in samples])
    expected = simulation.simulate(torch.from_numpy(velocity[:, 0]).to(device)).cpu().numpy()
    for ((pair, records, _), row), want in zip(samples, expected, strict=True):
        off = float(np.linalg.norm(records.read([row])[0] - want) / np.linalg.norm(want))
        if off > MISMATCH:
            what = f"does not belong to its map in {pair.maps} (relative L2 {off:.2g})"
            yield FileError("mismatch", records.path, what, sample=row, generated=pair.generated)


def _in_threads(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Map in order, on threads: reading and hashing release the interpreter lock."""
    with ThreadPoolExecutor(max(2, torch.get_num_threads())) as pool:
        return list(pool.map(work, items))
