"""Names beside marks."""

from collections.abc import Iterable

from markupsafe import Markup

from leaderboard.figures import svg

Box = tuple[float, float, float]
"""Left edge, right edge and baseline of what is drawn, in pixels."""
_PLACES = tuple((side, down) for down in (-5, 14, -20, 29) for side in (1, -1))
"""Right or left of a mark, and how far below its middle; the nearest first."""
_LETTER, _LINE, _LEFTMOST = 7.0, 11.0, 60.0


def marks(places: Iterable[tuple[float, float]]) -> list[Box]:
    """Boxes of the marks themselves, which names must not cover."""
    return [(x - 7, x + 7, y + 4) for x, y in places]


def beside(name: str, x: float, y: float, taken: list[Box], end: float) -> Markup:
    """The name in the first free place around a mark, or nothing: it is left to the tooltip.

    `taken` holds the boxes of what is drawn and is added to; `end` is the plot's right edge.
    """
    width = _LETTER * len(name)
    for side, down in _PLACES:
        left = x + 9 if side > 0 else x - 9 - width
        right, baseline = left + width, y + down
        inside = left > _LEFTMOST and right < end + 26
        if inside and not any(
            abs(baseline - b) <= _LINE and left < r and right > a for a, r, b in taken
        ):
            taken.append((left, right, baseline))
            anchor = "start" if side > 0 else "end"
            return svg.text(x + 9.0 * side, baseline, name, class_="who", text_anchor=anchor)
    return Markup()
