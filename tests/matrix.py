"""Whole matrices of a law, of which an ordinary run of the tests takes a part.

What is left out is marked `exhaustive`; ``python -m pytest -m exhaustive`` runs it.
"""

from collections.abc import Iterable
from typing import Any

import pytest

METHODS = ("bitfit", "fft", "lora", "prompt_tokens")
"""Of most kinds one: selective, full, reparametrised, tokens."""


def part(values: Iterable[Any], *chosen: Any) -> list[Any]:
    """All values as parameters of a test; those that are not chosen are `exhaustive`.

    Raises `ValueError` if a chosen one is not among the values.
    """
    return rows([(value,) for value in values], *((value,) for value in chosen))


def rows(values: Iterable[tuple[Any, ...]], *chosen: tuple[Any, ...]) -> list[Any]:
    """The same for a test with several parameters."""
    found = list(values)
    if unknown := [value for value in chosen if value not in found]:
        raise ValueError(f"{unknown} are not among {found}")
    return [
        pytest.param(*value, marks=[] if value in chosen else pytest.mark.exhaustive)
        for value in found
    ]


def every(step: int, values: Iterable[Any]) -> list[Any]:
    """Each `step`-th value, beginning with the first; the others are `exhaustive`."""
    found = list(values)
    return part(found, *found[::step])
