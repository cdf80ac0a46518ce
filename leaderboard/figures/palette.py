"""One colour and one sign for each method, on every page."""

from collections.abc import Iterable
from typing import Final

from markupsafe import Markup

from leaderboard.figures import svg
from leaderboard.tables.boards import Board
from leaderboard.tables.variants import Variant

COLOURS: Final = (
    ("#0072b2", "#4aa8e0"),
    ("#d55e00", "#f08a45"),
    ("#007f5c", "#2fc296"),
    ("#a83f8d", "#d987c9"),
    ("#8f6a00", "#d8ad2a"),
    ("#4b3fb0", "#9a8cf0"),
    ("#7a4a2a", "#c79a78"),
)
"""For light and dark paper: at least 3:1 against it, hues of Okabe and Ito 2008 made darker or
lighter. The number of colours and of signs have no common factor: 56 methods are told apart. To a
protanope some look alike (simulated after Machado et al. 2009, CIEDE2000 below 10: blue, magenta
and violet; orange and olive), so methods of a board differ in sign first."""

_DARK = ':root[data-theme="dark"] {name}{{--c:{dark}}}'
_PREFERRED = (
    '@media (prefers-color-scheme:dark){{:root:not([data-theme="light"]) {name}{{--c:{dark}}}}}'
)


def style_sheet(boards: Iterable[Board]) -> str:
    """Style sheet with the colour variable of each method and of the foundation."""
    lines = []
    indices = {v.index for b in boards for v in (*b.variants, b.foundation) if v}
    for index in sorted(indices):
        light, dark = COLOURS[index % len(COLOURS)]
        name = f".m-{index}"
        lines.append(f"{name}{{--c:{light}}}")
        lines.append(_DARK.format(name=name, dark=dark))
        lines.append(_PREFERRED.format(name=name, dark=dark))
    return "\n".join(lines) + "\n"


def classes(variant: Variant) -> str:
    """Style classes for a group of marks that a legend can switch off."""
    return f"m-{variant.index} s-{variant.index}"


def sign(variant: Variant) -> Markup:
    """The method's marker as a small picture."""
    return svg.tag(
        "svg",
        svg.marker(7, 7, variant.index, size=4.6),
        class_=f"sign m-{variant.index}",
        viewBox="0 0 14 14",
        width="14",
        height="14",
        aria_hidden="true",
    )
