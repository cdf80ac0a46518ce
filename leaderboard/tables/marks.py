"""Which colour and sign a method has: one index on all pages of a site."""

from collections.abc import Iterable, Sequence
from itertools import count

COLOURS = 7
"""Indices that differ by a multiple of it share a colour, `leaderboard.figures.palette`."""


def indices(boards: Iterable[Sequence[str]]) -> dict[str, int]:
    """An index for each method key; on a board of up to `COLOURS` methods no two share a colour.

    That holds for the first board, and for later ones as far as methods that stood on an earlier
    one, and keep their index, allow.
    """
    found: dict[str, int] = {}
    for keys in boards:
        taken = {found[key] % COLOURS for key in keys if key in found}
        for key in (k for k in keys if k not in found):
            free = len(taken) < COLOURS
            unused = (i for i in count() if i not in found.values())
            found[key] = next(i for i in unused if not (free and i % COLOURS in taken))
            taken.add(found[key] % COLOURS)
    return found
