"""One setting of the process."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Setting:
    """One setting: how to read it, and how to bring a value that was read back."""

    name: str
    """As a message says it."""
    read: Callable[[], Any]
    """A value that compares with ``==``."""
    write: Callable[[Any], object]


def attribute(owner: object, name: str) -> tuple[Callable[[], Any], Callable[[Any], object]]:
    """How to read and write an attribute."""
    return lambda: getattr(owner, name), lambda value: setattr(owner, name, value)
