"""Native crashes during a fit: noted by the dying process, reported by the next one.

While a job runs, Python's fault handler has a file in the run's folder. A segmentation fault or an
abort in native code of a plugin leaves a traceback there; whoever takes up the job next records the
fit as failed and goes on with the others. A process that is killed from outside leaves the file
empty, and its fit is resumed. A child process for each fit would survive the crash, but would cost
every fit seconds for importing torch again.
"""

import faulthandler
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.errors import HomeError, one_line

FILE = "crashed.txt"
_LONGEST_NOTE = 100_000


@contextmanager
def noted(folder: Path) -> Iterator[None]:
    """Context in which a crash leaves a note in a run's folder. Raises `HomeError`.

    The caller must hold the run's lock.
    """
    path, before = folder / FILE, faulthandler.is_enabled()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("wb")
    except OSError as error:
        raise HomeError(f"Cannot write {path}: {error.strerror or error}.") from error
    with file:
        faulthandler.enable(file, all_threads=False)
        try:
            yield
        finally:
            faulthandler.disable()
            if before:
                with suppress(OSError, RuntimeError, ValueError, AttributeError):
                    faulthandler.enable(sys.__stderr__)  # type: ignore[arg-type]  # None raises
            path.unlink(missing_ok=True)


def take(folder: Path) -> str | None:
    """Take the note of a crashed process: one sentence, removed from disk; None if there is none.

    The caller must hold the run's lock.
    """
    path = folder / FILE
    try:
        with path.open("rb") as file:
            note = file.read(_LONGEST_NOTE).decode(errors="replace")
        path.unlink()
    except OSError:  # there is none
        return None
    kind = re.search(r"Fatal Python error: (.+)", note)
    if kind is None:
        return None
    frame = re.search(r'File "(.+)", line (\d+) in', note)
    where = f" ({Path(frame[1]).name}:{frame[2]})" if frame else ""
    return one_line(f"The process crashed: {kind[1]}{where}.")
