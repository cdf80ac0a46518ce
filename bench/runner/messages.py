"""Progress of a child process, reported to its parent over a pipe: one line of JSON each."""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from typing import Any, TextIO

from bench.progress import Advance, Progress


class Reporter:
    """Progress as messages through a pipe. A parent that is gone ends this process."""

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


class Receiver:
    """Shows the progress that a `Reporter` sends; `close` ends the stages that are open."""

    def __init__(self, progress: Progress, *, prefix: str = "") -> None:
        """`prefix`: put before the titles of stages."""
        self._progress, self._prefix = progress, prefix
        self._stages: dict[int, tuple[AbstractContextManager[Advance], Advance]] = {}

    def receive(self, message: dict[str, Any]) -> None:
        """Show one message, as `parse` returns it; others than those of progress are ignored."""
        match message:
            case {"say": str(text)}:
                self._progress.say(text)
            case {
                "begin": int(number),
                "title": str(title),
                "total": int(total),
                "unit": str(unit),
            }:
                self._end(number)  # left open by a process that has died and was started again
                stage = self._progress.stage(f"{self._prefix}{title}", total, unit)
                self._stages[number] = (stage, stage.__enter__())
            case {"advance": int(number), "done": int(done)} if number in self._stages:
                self._stages[number][1](done)
            case {"end": int(number)}:
                self._end(number)

    def close(self) -> None:
        """End the stages that are open."""
        self._end(0)

    def _end(self, first: int) -> None:
        """End a stage and those that were begun inside it or after it."""
        for number in sorted(self._stages, reverse=True):
            if number >= first:
                self._stages.pop(number)[0].__exit__(None, None, None)


def parse(line: str) -> dict[str, Any]:
    """The message in a line; empty for any other line, such as one cut short by a crash."""
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}
