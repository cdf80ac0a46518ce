"""Progress reports of long work; the command line decides how they look."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]
"""Called with the number of units just finished."""


class Progress(Protocol):
    """Receiver of progress reports."""

    def say(self, text: str) -> None:
        """Report one line that stays."""

    def stage(self, title: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        """Context of `total` units of work, such as ``("simulate FlatVel_A", 128, "records")``."""


class Silent:
    """Receiver that ignores all reports."""

    def say(self, text: str) -> None:
        pass

    @contextmanager
    def stage(self, title: str, total: int, unit: str) -> Iterator[Advance]:
        yield lambda done: None
