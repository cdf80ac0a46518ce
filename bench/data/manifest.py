"""The manifest of a generated dataset: its finished files and their hashes."""

from pathlib import Path

from pydantic import Field, ValidationError

from bench.atomic import write_atomically
from bench.data.identity import content_sha256
from bench.data.layout import all_files
from bench.errors import DataError
from bench.files import open_regular
from bench.protocol.spec import Data, Frozen

FILE = "manifest.json"
_LARGEST = 50_000_000
"""Bytes; what is cut off is no JSON any more."""


class Manifest(Frozen):
    """The finished files of one dataset; a file that is not listed is not finished."""

    dataset: str
    data: Data
    sha256: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of each finished file, by its path in the dataset's folder."""

    @property
    def content_sha256(self) -> str:
        """Hash of the content of all files, for records of runs."""
        return content_sha256(self.sha256)

    def with_files(self, sha256: dict[str, str]) -> "Manifest":
        """This manifest with more files, in the order of the layout whatever was interrupted."""
        known = self.sha256 | sha256
        names = [n for p in all_files(self.dataset, self.data) for n in (p.records, p.maps)]
        return self.model_copy(update={"sha256": {n: known[n] for n in names if n in known}})

    def write(self, folder: Path) -> None:
        """Write the manifest atomically. Raises `HomeError`."""
        write_atomically(folder / FILE, self.model_dump_json(indent=1).encode())


def read(folder: Path) -> Manifest | None:
    """The manifest in a dataset's folder; None where there is none, as with real files.

    Raises `DataError` for one that cannot be read.
    """
    path = folder / FILE
    try:
        with open_regular(path) as file:
            return Manifest.model_validate_json(file.read(_LARGEST))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise DataError(
            f"{path}: is not a manifest of this program, or damaged; move this one file away. "
            "Generated data are then made again, real files are read as they are."
        ) from error
