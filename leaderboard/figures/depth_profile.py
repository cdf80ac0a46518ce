"""Velocity against depth at one place: truth and every method."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from bench.protocol.survey import CELL_METRES, DEPTH_CELLS, VELOCITY_MAX_MPS, VELOCITY_MIN_MPS
from leaderboard.figures import palette, svg
from leaderboard.tables.variants import Variant

Line = npt.NDArray[np.uint16]

_APART = 20
"""Cells from one sign of a method to its next along the profile."""


def profile(
    truth: Line, lines: Sequence[tuple[Variant, Line]], *, column: int, name: str
) -> Markup:
    """Velocities (z,) in m/s at lateral cell `column`."""
    place = column * CELL_METRES
    worst = [(v.label, float(np.abs(x.astype(float) - truth).mean())) for v, x in lines]
    panel = svg.Panel(
        width=300,
        height=330,
        title=f"Vertical profile of {name} at x = {place:.0f} m",
        description="Mean absolute error along it: "
        + "; ".join(f"{label} {error:.0f} m/s" for label, error in worst),
        left=56,
        top=12,
    )
    x0, x1, y0, y1 = panel.area
    x = svg.linear(VELOCITY_MIN_MPS - 100, VELOCITY_MAX_MPS + 100, x0, x1)
    y = svg.linear(0, DEPTH_CELLS * CELL_METRES, y1, y0)
    depths = [(i + 0.5) * CELL_METRES for i in range(DEPTH_CELLS)]
    panel.axis_x("velocity (m/s)", x, (1500, 2500, 3500, 4500), grid=True)
    panel.axis_y("depth (m)", y, range(0, 701, 100))
    panel.marks.append(_steps(truth, depths, x, y, class_="truth"))
    for number, (variant, values) in enumerate(lines):
        curve = _steps(values, depths, x, y, class_="series", data_tip=variant.label)
        signs = [
            svg.marker(x(float(values[i])), y(depths[i]), variant.index, size=3, class_="dot")
            for i in range(4 + 3 * number % _APART, DEPTH_CELLS, _APART)
        ]
        panel.marks.append(svg.tag("g", curve, *signs, class_=palette.classes(variant)))
    return panel.render(kind="small")


def _steps(
    values: Line, depths: Sequence[float], x: svg.Scale, y: svg.Scale, **style: str
) -> Markup:
    return svg.path(((x(float(v)), y(d)) for v, d in zip(values, depths, strict=True)), **style)
