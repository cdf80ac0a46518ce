"""Progress reports through a pipe: one line of JSON each."""

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from bench.progress import Advance, Progress


class Sender:
    """Receiver of progress reports that writes them to standard output."""

    def say(self, text: str) -> None:
        _write({"say": text})

    @contextmanager
    def stage(self, title: str, total: int, unit: str) -> Iterator[Advance]:
        _write({"stage": [title, total, unit]})
        yield lambda done: _write({"advance": done})


def _write(report: dict[str, object]) -> None:
    print(json.dumps(report), flush=True)  # noqa: T201  # it is what the pipe is for


def replay(lines: Iterable[str], progress: Progress) -> None:
    """Pass on what a `Sender` has written, until the pipe is closed; a new stage ends the last.

    Whatever else is written there is passed over.
    """
    with ExitStack() as stages:
        advance: Advance = lambda done: None  # noqa: E731
        for line in lines:
            try:
                report = json.loads(line)
            except ValueError:
                continue
            match report:
                case {"say": text}:
                    progress.say(text)
                case {"stage": [title, total, unit]}:
                    stages.close()
                    advance = stages.enter_context(progress.stage(title, total, unit))
                case {"advance": done}:
                    advance(done)
