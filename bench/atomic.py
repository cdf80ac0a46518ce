"""Files that are written whole or not at all."""

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from bench.errors import HomeError


def write_atomically(path: Path, content: bytes, *, temporary: Path | None = None) -> None:
    """Temporary file, fsync, rename: the file is whole or absent. Raises `HomeError`.

    `temporary`: the folder of the temporary file, on the same file system; that of `path` where it
    is None. Whoever owns it removes what killed writers left.
    """
    with atomic_file(path, temporary=temporary) as file:
        file.write(content)


@contextmanager
def atomic_file(
    path: Path, *, durable: bool = True, temporary: Path | None = None
) -> Iterator[BinaryIO]:
    """A file to write; it gets its name when the block ends without an error and all is on disk.

    `durable=False` does not wait for the disk: a kill does no harm, but after a power cut the file
    may be cut short. For what is checked when it is read, and can be made again.

    Raises `HomeError` for any error in writing, also inside the block.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = (temporary or path.parent) / f".{path.name}.{uuid4().hex[:8]}"
        try:
            with partial.open("xb") as file:
                yield file
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise HomeError(
            f"Cannot write {path}: {error.strerror or error}; free space or choose another folder. "
            "What is finished is kept."
        ) from error


def remove_leftovers(folder: Path, *, older_seconds: float | None = None) -> None:
    """Remove what killed writers left in a folder.

    Nobody else may be writing there, or only files untouched for `older_seconds` are removed: no
    writer of a small file takes that long.
    """
    for path in folder.glob(".*"):
        try:
            found = path.lstat()
            old = older_seconds is None or time.time() - found.st_mtime > older_seconds
            if stat.S_ISREG(found.st_mode) and old:
                path.unlink(missing_ok=True)
        except OSError:  # it is gone, or not ours
            continue
