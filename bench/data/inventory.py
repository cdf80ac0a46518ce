"""Real files that are not the official release: what a folder holds, and a track for it.

The Kaggle edition has two files of 500 samples a dataset; others have other counts or precisions.
"""

import json
from pathlib import Path

from bench.data import layout
from bench.data.npy import FileError, NpyFile
from bench.errors import DataError
from bench.protocol.spec import DATASETS, Budget, Data, Track


def found(folder: Path) -> dict[str, int]:
    """Files of records in a dataset's folder that have their maps, and the samples in each.

    In the order of their numbers. Files that cannot be used are left out.
    """
    paths = (*folder.glob("seis*.npy"), *folder.glob("data/data*.npy"))
    names = [path.relative_to(folder).as_posix() for path in paths]
    numbered = sorted((n, name) for name in names if (n := layout.number_of(name)))
    return {name: samples for _, name in numbered if (samples := _samples(folder, name)) > 1}


def track(root: Path, like: Track, *, name: str, test_percent: int) -> Track:
    """A track for all files below `root`, with the budgets of another track.

    The last `test_percent` of each file are for testing. Raises `DataError` where there is no file.
    """
    files = {}
    for dataset in DATASETS:
        folder = layout.find_folder(root, dataset)
        if folder and (there := found(folder)):
            files[dataset] = there
    if not files:
        raise DataError(
            f"{root} holds no dataset's files; name the folder that holds FlatVel_A, Style_B, …"
        )
    data = Data(source="files", files=files, test_percent=test_percent)
    total = sum(map(len, files.values()))
    summary = f"{total} files of {len(files)} datasets, the last {test_percent} % of each to test."
    return Track.model_validate(
        like.model_dump() | {"name": name, "version": 1, "summary": summary, "data": data}
    )


def toml(track: Track) -> str:
    """A track of listed files as the text of its file."""
    lines = [
        f"name = {_text(track.name)}",
        f"version = {track.version}",
        f"summary = {_text(track.summary)}",
        f"default_backbone = {_text(track.default_backbone)}",
        f"default_protocol = {_text(track.default_protocol)}",
        f"seeds = {list(track.seeds)}",
        f"gallery = {track.gallery}",
        *("", "[pretrain]", *_budget(track.pretrain)),
        *("", "[fit]", *_budget(track.fit)),
        *("", "[data]", f'source = "{track.data.source}"'),
        f"test_percent = {track.data.test_percent}",
    ]
    for dataset, files in (track.data.files or {}).items():
        lines += ["", f"[data.files.{dataset}]", *(f'"{n}" = {held}' for n, held in files.items())]
    return "\n".join(lines) + "\n"


def advice(root: Path, dataset: str, data: Data) -> str | None:
    """What is there instead of the files that `data` expect, and how to use it.

    None where nothing usable is there, or all that is expected.
    """
    folder = layout.find_folder(root, dataset)
    there = found(folder) if folder else {}
    pairs = layout.all_files(dataset, data) if data.files is None else ()
    wanted = {pair.records: pair.samples for pair in pairs}
    if not there or not wanted or there == wanted:
        return None
    return (
        f"{dataset} has {len(there)} usable files of records with {sum(there.values()):,} samples "
        f"here; {len(wanted)} with {sum(wanted.values()):,} are needed. If these are not damaged "
        f"but another edition, write a track for them: bench data track {root} --out mine.toml"
    )


def _samples(folder: Path, records: str) -> int:
    """The samples of a file of records and its maps; 0 where they are not a usable pair."""
    try:
        first = NpyFile.open(folder / records, "records", None, types=layout.ANY_FLOAT)
        maps = layout.maps_of(records)
        NpyFile.open(folder / maps, "maps", first.samples, types=layout.ANY_FLOAT)
    except FileError:
        return 0
    return first.samples


def _budget(budget: Budget) -> tuple[str, ...]:
    return f"epochs = {budget.epochs}", f"batch = {budget.batch}"


def _text(value: str) -> str:
    """A TOML string; JSON's are a subset."""
    return json.dumps(value)
