"""Heat maps with their numbers written in them."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from bench.seismic.colours import stops
from leaderboard.figures import svg
from leaderboard.tables import text

_BLACK_FROM = 0.179
"""Luminance from which black reads better than white; either way the contrast is over 4.5."""
_NARROW = 500
"""Pixels that a telephone shrinks to its width and leaves legible."""


def heat(
    values: Mapping[tuple[str, str], float],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    title: str,
    row_label: str,
    column_label: str,
    ends: tuple[float, float],
    digits: int = 3,
    head: str = "",
    marked: tuple[str, str] | None = None,
    cell: float = 70,
    left: float = 96,
    switchable: bool = False,
) -> Markup:
    """Rows × columns, `ends` the values of the darkest and the lightest colour.

    `switchable` values are on [−1, 1] and can be shown in m/s.
    """
    width = left + cell * len(columns) + 8
    panel = svg.Panel(
        width=width,
        height=62 + 34 * len(rows),
        title=title,
        description="; ".join(f"{r} × {c}: {v:.{digits}f}" for (r, c), v in values.items()),
        left=left,
        top=56,
    )
    colours = stops("velocity", 64)
    low, high = ends
    if head:
        panel.marks.append(svg.text(0, 13, head, class_="head"))
    middle = left + cell * len(columns) / 2
    panel.marks.append(
        svg.text(middle, 32, f"{column_label} →", class_="label", text_anchor="middle")
    )
    panel.marks.append(svg.text(left - 8, 49, f"{row_label} ↓", class_="label", text_anchor="end"))
    for j, name in enumerate(columns):
        panel.marks.append(
            svg.text(left + cell * (j + 0.5), 49, name, class_="tick", text_anchor="middle")
        )
    for i, row in enumerate(rows):
        top = panel.top + 34 * i
        panel.marks.append(svg.text(left - 8, top + 21, row, class_="tick", text_anchor="end"))
        for j, column in enumerate(columns):
            x = left + cell * j
            value = values.get((row, column))
            if value is None:
                panel.marks.append(
                    svg.tag(
                        "rect", x=x + 1, y=top + 1, width=cell - 2, height=32, rx=4, class_="empty"
                    )
                )
                continue
            share = min(max((value - low) / ((high - low) or 1.0), 0.0), 1.0)
            fill = colours[round(share * (len(colours) - 1))][1]
            inside = "on-light" if luminance(fill) > _BLACK_FROM else "on-dark"
            panel.marks.append(
                svg.tag(
                    "g",
                    svg.tag("rect", x=x + 1, y=top + 1, width=cell - 2, height=32, rx=4, fill=fill),
                    svg.text(
                        x + cell / 2,
                        top + 21,
                        f"{value:.{digits}f}",
                        class_=inside,
                        text_anchor="middle",
                        data_mae=f"{value:.6g}" if switchable else None,
                    ),
                    svg.tag(
                        "rect",
                        x=x + 2.5,
                        y=top + 2.5,
                        width=cell - 5,
                        height=29,
                        rx=3,
                        class_="marked",
                    )
                    if marked == (row, column)
                    else Markup(),
                    data_tip=f"{row_label} {row}\n{column_label} {column}\n"
                    + (text.tip(value) if switchable else f"{value:.4f}"),
                )
            )
    return panel.render(kind="heat" if width > _NARROW else "small")


def luminance(colour: str) -> float:
    """Relative luminance of ``#rrggbb``, 0 to 1 (WCAG 2.1)."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
