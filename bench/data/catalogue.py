"""The datasets below a folder: generated or real, and the files that each should have."""

from dataclasses import dataclass
from pathlib import Path

from bench.data import layout, manifest
from bench.data.layout import FilePair, Split
from bench.data.manifest import Manifest
from bench.errors import DataError
from bench.protocol.spec import DATASETS, Data

OFFICIAL = Data(source="files")


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """The folder of one dataset; `manifest` is None for real files."""

    dataset: str
    folder: Path
    data: Data
    manifest: Manifest | None

    def pairs(self, split: Split) -> tuple[FilePair, ...]:
        return layout.files(self.dataset, split, self.data)


def shelf(root: Path, dataset: str, data: Data | None = None) -> Shelf | None:
    """The folder of one dataset below `root`; None if there is none, or none that `data` name.

    Without `data`, a manifest tells what it should hold; without a manifest, it is the release.
    Where real files are expected, a manifest means nothing.
    Raises `DataError` for a root that cannot be listed, two folders of one dataset, or a manifest
    that cannot be read.
    """
    folder = layout.find_folder(root, dataset)
    listed = data is None or data.files is None or dataset in data.files
    if folder is None or not listed:
        return None
    made = None if data and data.source == "files" else manifest.read(folder)
    if made and made.dataset != dataset:
        raise DataError(f"{folder}: these are files of {made.dataset}; give the folder its name.")
    wanted = data or (made.data if made else OFFICIAL)
    return Shelf(dataset=dataset, folder=folder, data=wanted, manifest=made)


def shelves(root: Path, data: Data | None = None) -> list[Shelf]:
    """The folders of all datasets below `root`. Raises `DataError` if none, or as `shelf`."""
    found = [s for dataset in DATASETS if (s := shelf(root, dataset, data))]
    if not found:
        raise DataError(
            f"Data folder {root} holds no dataset; name the folder that holds FlatVel_A, Style_B, …"
        )
    return found
