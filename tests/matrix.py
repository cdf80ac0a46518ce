"""Whole matrices of a law, of which an ordinary run of the tests takes a part.

What is left out is marked `exhaustive`; ``python -m pytest -m exhaustive`` runs it.
"""

from collections.abc import Iterable
from typing import Any

import pytest

METHODS = ("adapter", "bitfit", "fft", "hf", "lora", "prompt_tokens", "wise")
"""Of most kinds one: full, selective, reparametrised, added and bridged; tokens, a choice at the
end."""


def part(values: Iterable[Any], *chosen: Any) -> list[Any]:
    """All values as parameters of a test; those that are not chosen are `exhaustive`.

    Raises `ValueError` if a chosen one is not among the values.
    """
    found = list(values)
    if unknown := [value for value in chosen if value not in found]:
        raise ValueError(f"{unknown} are not among {found}")
    return [
        value if value in chosen else pytest.param(value, marks=pytest.mark.exhaustive)
        for value in found
    ]
