"""Progress and tables on a terminal: live with Rich, plain lines when piped."""

import time
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from bench.progress import Advance

_PLAIN_SECONDS = 30.0
"""Time between plain lines about the same piece of work."""


class Live:
    """Live display: progress of the whole command and of the current task."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            speed_estimate_period=3600.0,  # one fit may take minutes
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        self._progress.console.print(printable(text), highlight=False, markup=False)

    @contextmanager
    def stage(self, title: str, total: int, unit: str) -> Iterator[Advance]:
        task = self._progress.add_task(title, total=total, unit=unit)
        try:
            yield lambda done: self._progress.advance(task, done)
        finally:
            self._progress.remove_task(task)


class Plain:
    """Lines without control characters, for pipes, logs and ``--quiet``."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def say(self, text: str) -> None:
        print(printable(text), flush=True)  # noqa: T201  # printing is this class's purpose

    @contextmanager
    def stage(self, title: str, total: int, unit: str) -> Iterator[Advance]:
        start = told = time.monotonic()
        done = 0

        def advance(more: int) -> None:
            nonlocal done, told
            done += more
            now = time.monotonic()
            if now - told > _PLAIN_SECONDS and not self._quiet:
                told = now
                left = (now - start) / max(done, 1) * (total - done)
                self.say(f"{title}: {done}/{total} {unit}, about {duration(left)} left")

        yield advance


def progress(*, quiet: bool) -> Live | Plain:
    """The live display on a terminal; plain lines elsewhere, or if `quiet`."""
    console = Console(stderr=True)
    return Live(console) if console.is_terminal and not quiet else Plain(quiet=quiet)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "") -> None:
    """Print a table; columns whose heading starts with ``#`` are right-aligned numbers."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    grid = Table(title=title or None, title_justify="left", header_style="bold")
    for column in columns:
        grid.add_column(column.lstrip("#"), justify="right" if column.startswith("#") else "left")
    for row in rows:
        grid.add_row(*(escape(printable(text)) for text in row))
    console.print(grid)


def printable(text: str) -> str:
    """A text without control characters: what it came from may be a record of anybody's.

    Spaces of all kinds stay: numbers have a no-break space before their unit.
    """
    return "".join(c if _is_printable(c) else "\N{REPLACEMENT CHARACTER}" for c in text)


def _is_printable(character: str) -> bool:
    return character.isprintable() or character == "\n" or unicodedata.category(character) == "Zs"


def duration(seconds: float) -> str:
    """A duration in words: ``42 s``, ``3 min 05 s``, ``2 h 10 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.0f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def counted(number: int, noun: str) -> str:
    """A number and what it counts: ``1 fit``, ``1,200 fits``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def size(count: float) -> str:
    """A number of bytes in binary units: ``4.4 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
