"""The content of data files: SHA-256 of each, computed once and kept until the file changes."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Self

from pydantic import ValidationError

from bench.atomic import write_atomically
from bench.data.npy import sha256
from bench.errors import HomeError
from bench.progress import Progress
from bench.protocol.spec import Frozen, Sha256, canonical

_THREADS = 4


class FileState(Frozen):
    """Size, time of the last change and inode of a file: when these differ, so may its content."""

    size: int
    modified_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> Self | None:
        """The present state of a file; None where there is none."""
        try:
            now = path.stat()
        except OSError:
            return None
        return cls(size=now.st_size, modified_ns=now.st_mtime_ns, inode=now.st_ino)


class FileHash(Frozen):
    """The hash of a file, and the state it was in before it was read."""

    state: FileState
    sha256: Sha256


class _Note(Frozen):
    """The known hashes of the files of one folder, by their names in it."""

    folder: str
    files: dict[str, FileHash]


class KnownHashes:
    """Hashes of data files, kept below a folder; one note for each folder of data.

    Whatever cannot be read or written there is hashed again the next time.
    """

    def __init__(self, notes: Path) -> None:
        self._notes = notes

    def known(self, folder: Path, names: Iterable[str]) -> dict[str, str]:
        """SHA-256 by name of those files below `folder` that are as they were when hashed."""
        noted = self._read(folder)
        return {
            name: noted[name].sha256
            for name in names
            if name in noted and FileState.of(folder / name) == noted[name].state
        }

    def keep(self, folder: Path, hashes: Mapping[str, FileHash]) -> None:
        """Note hashes of files below `folder`, in place of older ones of the same files."""
        if hashes:
            note = _Note(folder=str(folder.resolve()), files=self._read(folder) | dict(hashes))
            with suppress(HomeError):  # a home that is only read
                write_atomically(self._path(folder), note.model_dump_json().encode())

    def of(
        self,
        folder: Path,
        names: Iterable[str],
        progress: Progress,
        *,
        label: str,
        generated: bool = False,
    ) -> dict[str, str]:
        """SHA-256 by name of files below `folder`; only new and changed ones are read.

        `label` is what the progress calls them. Raises `FileError` for one that cannot be read.
        """
        wanted = list(names)
        known = self.known(folder, wanted)
        new = [name for name in wanted if name not in known]
        if new:
            with progress.stage(f"hash {label}", len(new), "files") as advance:
                found = _hash(folder, new, lambda: advance(1), generated)
            self.keep(folder, found)
            known |= {name: entry.sha256 for name, entry in found.items()}
        return {name: known[name] for name in wanted}

    def _path(self, folder: Path) -> Path:
        return self._notes / f"{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()}.json"

    def _read(self, folder: Path) -> dict[str, FileHash]:
        try:
            return _Note.model_validate_json(self._path(folder).read_bytes()).files
        except (OSError, ValidationError):
            return {}


def content_sha256(sha256_by_name: Mapping[str, str]) -> str:
    """Hash of the content of all files of a dataset, for records of runs."""
    return hashlib.sha256(canonical(dict(sha256_by_name)).encode()).hexdigest()


def _hash(
    folder: Path, names: list[str], done: Callable[[], None], generated: bool
) -> dict[str, FileHash]:
    def one(name: str) -> FileHash:
        state = FileState.of(folder / name)
        digest = sha256(folder / name, generated=generated)
        done()
        return FileHash(state=state or FileState(size=0, modified_ns=0, inode=0), sha256=digest)

    with ThreadPoolExecutor(_THREADS) as pool:  # reading and hashing release the interpreter lock
        return dict(zip(names, pool.map(one, names), strict=True))
