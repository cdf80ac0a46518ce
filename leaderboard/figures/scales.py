"""Colour bars of the velocity and error pictures."""

from functools import cache

from markupsafe import Markup

from bench.protocol.survey import VELOCITY_MAX_MPS, VELOCITY_MIN_MPS
from bench.seismic.colours import stops
from leaderboard.figures import svg
from leaderboard.figures.maps import ERROR_RANGE_MPS


@cache
def velocity() -> Markup:
    return _bar("velocity", "Velocity (m/s)", VELOCITY_MIN_MPS, VELOCITY_MAX_MPS)


@cache
def error() -> Markup:
    return _bar("error", "Prediction − truth (m/s)", -ERROR_RANGE_MPS, ERROR_RANGE_MPS)


def _bar(scale: str, label: str, low: float, high: float) -> Markup:
    width, left = 240.0, 22.0
    x = svg.linear(low, high, left, left + width)
    gradient = svg.tag(
        "linearGradient",
        *(svg.tag("stop", offset=f"{p:.3f}", stop_color=c) for p, c in stops(scale)),
        id=f"scale-{scale}",
    )
    ends = [
        svg.text(
            x(v),
            41,
            f"{v:,.0f}".replace("-", "−").replace(",", "\u202f"),
            class_="tick",
            text_anchor="middle",
        )
        for v in (low, (low + high) / 2, high)
    ]
    return svg.tag(
        "svg",
        svg.tag("defs", gradient),
        svg.text(left, 11, label, class_="label"),
        svg.tag("rect", x=left, y=17, width=width, height=10, rx=2, fill=f"url(#scale-{scale})"),
        *ends,
        class_="plot scale",
        viewBox="0 0 290 46",
        width="290",
        height="46",
        role="img",
        aria_label=f"Colour scale: {label} from {low:g} to {high:g}",
    )
