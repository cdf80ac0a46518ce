"""One process-wide setting."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Setting:
    """One process-wide setting: how to read it, and how to restore a value."""

    name: str
    """As a message says it."""
    read: Callable[[], Any]
    """A value that compares with ``==``."""
    write: Callable[[Any], object]


def attribute(owner: object, name: str) -> tuple[Callable[[], Any], Callable[[Any], object]]:
    """The setting that is an attribute of an object."""
    return lambda: getattr(owner, name), lambda value: setattr(owner, name, value)
