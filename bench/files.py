"""Opening of files that come from outside."""

import os
import stat
from io import BufferedReader
from pathlib import Path


class NotAFileError(OSError):
    """A FIFO, device, socket or folder where a file should be."""


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file for reading, without waiting for whatever else has its name.

    Opening a FIFO or some devices would wait for ever. Symbolic links are followed. Raises
    `OSError`; `NotAFileError` for what is not a regular file.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotAFileError("it is not a regular file")
    return os.fdopen(descriptor, "rb")


def irregular(path: Path, most_bytes: int) -> str | None:
    """Reason why a file is not read at all; None for a regular file of acceptable size.

    Links are not followed, nor is the file's own folder if it is one: a link may point to a file
    that is nobody's business, or to a device.
    """
    try:
        if path.is_symlink() or path.parent.is_symlink():
            return "It is a symbolic link; links are not followed."
        found = path.stat()
    except OSError as error:
        return f"It cannot be read: {error.strerror or error}."
    if not stat.S_ISREG(found.st_mode):
        return "It is not a regular file."
    if found.st_size > most_bytes:
        return f"It has {found.st_size:,} bytes; at most {most_bytes:,} are read."
    return None
