"""Names beside marks."""

from markupsafe import Markup

from leaderboard.figures import svg


def beside(name: str, x: float, y: float, taken: list[tuple[float, float]], end: float) -> Markup:
    """The name in the first free place around a mark, or nothing: it is left to the tooltip.

    `taken` holds the places of earlier names and is added to; `end` is the right edge of the plot.
    """
    width = 7.0 * len(name)
    for side, down in ((1, -5), (-1, -5), (1, 14), (-1, 14)):
        left = x + 9 if side > 0 else x - 9 - width
        inside = left > 60 and left + width < end + 26
        if inside and all(abs(y + down - b) > 11 or abs(left - a) > width for a, b in taken):
            taken.append((left, y + down))
            anchor = "start" if side > 0 else "end"
            return svg.text(x + 9.0 * side, y + down, name, class_="who", text_anchor=anchor)
    return Markup()
