"""Standard input, output and error, and the files that they are open on."""

import os
import sys
from contextlib import suppress
from typing import IO

_NAMES = ("stdin", "stdout", "stderr")


class Streams:
    """The standard streams, as they were when this was made. `restore` must be called once."""

    def __init__(self) -> None:
        self._objects: list[IO[str]] = [getattr(sys, name) for name in _NAMES]
        self._open = [_is_open(stream) for stream in self._objects]
        self._files = [_file(number) for number in range(3)]
        self._kept = [os.dup(n) if self._files[n] else None for n in range(3)]

    def restore(self) -> list[str]:
        """Bring the streams back that have been replaced, closed or led elsewhere; their names."""
        changed = []
        for number, name in enumerate(_NAMES):
            kept, stream = self._kept[number], self._objects[number]
            if kept is not None:
                if elsewhere := _file(number) != self._files[number]:
                    os.dup2(kept, number)
                os.close(kept)
            else:
                elsewhere = False
            replaced = getattr(sys, name, None) is not stream
            if closed := self._open[number] and not _is_open(stream):
                mode = "r" if name == "stdin" else "w"
                stream = os.fdopen(number, mode, encoding="utf-8", errors="replace", closefd=False)
            if elsewhere or replaced or closed:
                setattr(sys, name, stream)
                changed.append(f"sys.{name}")
        return changed


def _file(number: int) -> tuple[int, int] | None:
    """What a descriptor is open on; None where it is closed."""
    with suppress(OSError):
        found = os.fstat(number)
        return found.st_dev, found.st_ino
    return None


def _is_open(stream: IO[str] | None) -> bool:
    return stream is not None and not stream.closed
