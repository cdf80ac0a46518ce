"""Which colour and sign a method has: one index on all pages of a site."""

from collections.abc import Iterable, Sequence

COLOURS = 7
"""Indices that differ by a multiple of it share a colour, `leaderboard.figures.palette`."""
SIGNS = 8
"""Likewise a sign, `leaderboard.figures.svg.SHAPES`. The two numbers have no common factor."""


def indices(boards: Iterable[Sequence[str]]) -> dict[str, int]:
    """An index for each method key, as far apart as possible on each board.

    On the first board, up to `COLOURS` methods share neither colour nor sign; a method keeps its
    index on later boards, where the others get what is free beside it.
    """
    found: dict[str, int] = {}
    for keys in boards:
        used = [found[key] for key in keys if key in found]
        for key in (k for k in keys if k not in found):
            found[key] = _free(used, set(found.values()))
            used.append(found[key])
    return found


def _free(beside: Sequence[int], taken: set[int]) -> int:
    """The lowest index that is not taken, of those that have least in common with these."""
    colours = [i % COLOURS for i in beside]
    signs = [i % SIGNS for i in beside]
    choice = [i for i in range(len(taken) + COLOURS * SIGNS) if i not in taken]
    return min(choice, key=lambda i: (signs.count(i % SIGNS), colours.count(i % COLOURS), i))
