"""Spatial information of a dataset against the error on it."""

from collections.abc import Sequence

from markupsafe import Markup

from leaderboard.figures import palette, svg
from leaderboard.tables import text
from leaderboard.tables.variants import Variant

_LEVELS, _NAME = 4, 76.0
"""Rows of names above the plot, and the room that a name takes."""


def scatter(points: Sequence[tuple[Variant, str, float, float]]) -> Markup:
    """Points (method, dataset, spatial information in m/s a cell, MAE in distribution)."""
    panel = svg.Panel(
        width=1080,
        height=420,
        title="Spatial information against error in distribution",
        description="; ".join(
            f"{v.label} on {d}: {i:.0f} m/s per cell, MAE {e:.3f}" for v, d, i, e in points
        ),
        left=62,
        top=58,
    )
    x0, x1, y0, y1 = panel.area
    left, right = svg.around(p[2] for p in points)
    low, high = svg.around(p[3] for p in points)
    x, y = svg.linear(left, right, x0, x1), svg.linear(low, high, y0, y1)
    panel.axis_x(
        "spatial information: mean Sobel gradient (m/s per cell)",
        x,
        svg.ticks(left, right, 7),
        grid=True,
    )
    mae = text.axis(text.column("mae"))
    panel.axis_y(f"{mae}, in distribution", y, svg.ticks(low, high, 5))
    ends = [-99.0] * _LEVELS
    for i, dataset in sorted({(p[2], p[1]) for p in points}):
        level = next((n for n, end in enumerate(ends) if x(i) - end > _NAME), 0)
        ends[level] = x(i)
        top = y1 - 6 - 13 * level
        panel.marks.append(svg.line(x(i), y0, x(i), top + 3, class_="guide"))
        name = text.dataset(dataset)
        panel.marks.append(svg.text(x(i), top, name, class_="tick", text_anchor="middle"))
    for variant, dataset, i, e in points:
        tip = f"{variant.label} on {dataset}\nspatial information {i:.0f} m/s per cell\n"
        tip += f"MAE {text.tip(e)}"
        panel.marks.append(
            svg.tag(
                "g",
                svg.marker(x(i), y(e), variant.index, class_="dot", data_tip=tip),
                class_=palette.classes(variant),
            )
        )
    return panel.render(kind="wide")
