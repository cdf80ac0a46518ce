"""Standard output and error: they lose no command to a character or a closed pipe."""

import errno
import os
import sys
from contextlib import suppress

BROKEN_PIPE = 141
"""Exit code of a program that SIGPIPE ends, as shells report it."""


def forgive() -> None:
    """Let characters that the terminal's encoding lacks be written as question marks."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")


def failed(error: OSError) -> int | None:
    """Exit code where an error is that of writing the output; None for any other.

    A reader that has seen enough (`bench runs | head`) is no error to speak of; a full disk is.
    """
    if isinstance(error, BrokenPipeError):
        _discard()
        return BROKEN_PIPE
    if error.errno in (errno.ENOSPC, errno.EIO) and error.filename is None:
        _discard()
        with suppress(OSError):
            sys.stderr.write(f"Error: The output cannot be written: {error.strerror}.\n")
            sys.stderr.flush()
        return 2
    return None


def flush() -> int | None:
    """Write what is buffered; exit code if that fails."""
    try:
        sys.stdout.flush()
    except OSError as error:
        return failed(error)
    return None


def _discard() -> None:
    """Send standard output nowhere, or Python would complain once more at its end."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
