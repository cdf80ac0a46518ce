"""Colour scales of velocity maps and of their errors, for pictures and pages alike."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]

_VELOCITY = (
    (0.22, 0.09, 285),
    (0.36, 0.12, 265),
    (0.50, 0.11, 235),
    (0.63, 0.10, 195),
    (0.75, 0.12, 150),
    (0.86, 0.14, 112),
    (0.96, 0.09, 95),
)
"""OKLCh anchors of the velocity scale: lightness rises evenly, so that order reads without hue."""
_ERROR = (
    (0.36, 0.13, 262),
    (0.58, 0.13, 250),
    (0.80, 0.07, 240),
    (0.975, 0.0, 90),
    (0.80, 0.09, 60),
    (0.60, 0.16, 42),
    (0.40, 0.14, 30),
)
"""Blue: predicted too slow; orange: too fast; both ends equally dark."""


def stops(scale: str, count: int = 12) -> list[tuple[float, str]]:
    """(position, colour) along a scale, for a colour bar."""
    colours = palette(scale)
    positions = [i / (count - 1) for i in range(count)]
    return [(p, "#" + bytes(colours[round(p * 255)].tolist()).hex()) for p in positions]


@cache
def palette(scale: str) -> Bytes:
    """256 sRGB colours of the scale ``velocity`` or ``error``, (256, 3)."""
    anchors = np.array({"velocity": _VELOCITY, "error": _ERROR}[scale], dtype=np.float64)
    angle = np.deg2rad(anchors[:, 2])
    lab = np.column_stack(
        [anchors[:, 0], anchors[:, 1] * np.cos(angle), anchors[:, 1] * np.sin(angle)]
    )
    where = np.linspace(0, len(lab) - 1, 256)
    channels = [np.interp(where, np.arange(len(lab)), lab[:, c]) for c in range(3)]
    return _srgb(np.column_stack(channels))


def _srgb(lab: Floats) -> Bytes:
    """OKLab → sRGB (Ottosson 2020), clipped to the gamut."""
    to_lms = np.array(
        [
            [1, 0.3963377774, 0.2158037573],
            [1, -0.1055613458, -0.0638541728],
            [1, -0.0894841775, -1.2914855480],
        ]
    )
    to_rgb = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    )
    linear = np.clip((lab @ to_lms.T) ** 3 @ to_rgb.T, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    colours: Bytes = np.round(encoded * 255).astype(np.uint8)
    return colours
