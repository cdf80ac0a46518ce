"""Reports of a worker process to the one that started it: one line of JSON each, over a pipe."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, TextIO

from bench.progress import Advance


class Reporter:
    """Progress of a worker, as messages. A receiver that is gone ends the worker."""

    def __init__(self, pipe: TextIO) -> None:
        self._pipe, self._numbers = pipe, count()

    def say(self, text: str) -> None:
        self._send({"say": text})

    @contextmanager
    def stage(self, title: str, total: int, unit: str) -> Iterator[Advance]:
        number = next(self._numbers)
        self._send({"begin": number, "title": title, "total": total, "unit": unit})
        try:
            yield lambda done: self._send({"advance": number, "done": done})
        finally:
            self._send({"end": number})

    def settled(self, key: str) -> None:
        """Report that nothing is left to do with a job."""
        self._send({"settled": key})

    def error(self, sentence: str) -> None:
        """Report an error of the user's data or home, which ends the command."""
        self._send({"error": sentence})

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self._pipe.write(json.dumps(message) + "\n")
            self._pipe.flush()
        except (BrokenPipeError, ValueError):
            raise KeyboardInterrupt from None


def parse(line: str) -> dict[str, Any]:
    """A message; a line that is none, cut short by the sender's death, is an empty one."""
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}
