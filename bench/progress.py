"""How long work tells about itself; the terminal decides how it looks."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]
"""Called with the number of units just finished."""


class Progress(Protocol):
    """Where the conductor reports to."""

    def say(self, text: str) -> None:
        """One line that stays."""

    def stage(self, title: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        """A piece of work of `total` units, such as ``("simulate FlatVel_A", 128, "records")``."""


class Silent:
    """Reports to nobody."""

    def say(self, text: str) -> None:
        pass

    @contextmanager
    def stage(self, title: str, total: int, unit: str) -> Iterator[Advance]:
        yield lambda done: None
