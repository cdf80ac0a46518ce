"""A seismic gather as the field draws it: offset to the right, time downwards."""

import io

import numpy as np
import numpy.typing as npt
from markupsafe import Markup
from PIL import Image

from bench.protocol.survey import CELL_METRES, RECEIVERS, STEP_SECONDS, TIME_STEPS
from bench.seismic.colours import palette
from bench.seismic.gather import SOURCE_METRES
from leaderboard.figures import svg

_LEVELS = 127


def png(gather: npt.NDArray[np.int8]) -> bytes:
    """A picture of a gather (times, receivers): a pixel each, blue is negative."""
    picture = Image.fromarray((gather.astype(np.int16) + _LEVELS).astype(np.uint8), mode="P")
    picks = np.round(np.linspace(0, 255, 2 * _LEVELS + 1)).astype(int)
    picture.putpalette([int(c) for colour in palette("error")[picks] for c in colour])
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def panel(href: str, name: str) -> Markup:
    """The picture in a file of the site, with its axes."""
    last = (RECEIVERS - 1) * CELL_METRES
    drawn = svg.Panel(
        width=230,
        height=330,
        title=f"Seismic record of {name}",
        description=f"Pressure of the middle shot, at x = {SOURCE_METRES:.0f} m, at "
        f"{RECEIVERS} receivers over {TIME_STEPS * STEP_SECONDS:g} s; large amplitudes clipped.",
        left=46,
        top=12,
    )
    x0, x1, y0, y1 = drawn.area
    x = svg.linear(-SOURCE_METRES, last - SOURCE_METRES, x0, x1)
    y = svg.linear(0, TIME_STEPS * STEP_SECONDS, y1, y0)
    drawn.marks.append(
        svg.tag(
            "image",
            href=href,
            x=x0,
            y=y1,
            width=x1 - x0,
            height=y0 - y1,
            preserveAspectRatio="none",
        )
    )
    drawn.axis_x("offset (m)", x, (-300, 0, 300))
    drawn.axis_y("time (s)", y, (0, 0.25, 0.5, 0.75, 1))
    return drawn.render(kind="small")
