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
