"""Vel family: layers of even thickness, flat or bent by one curve that all interfaces share."""

import numpy as np
from numpy.typing import NDArray

from bench.protocol.survey import DEPTH_CELLS, VELOCITY_MAX_MPS, VELOCITY_MIN_MPS, WIDTH_CELLS
from bench.seismic.generators.curve import bends

LAYERS = (2, 7)
"""Fewest and most layers of full thickness; the bottom cuts off one more."""


def flat(rng: np.random.Generator, *, rising: bool) -> NDArray[np.float32]:
    """FlatVel: horizontal layers; `rising`: velocity grows with depth. (70, 70) m/s."""
    thickness = DEPTH_CELLS / rng.integers(*LAYERS, endpoint=True)
    depths = interfaces(rng, thickness, first=thickness * rng.uniform(0.45, 1.4))
    speeds = velocities(rng, len(depths) + 1, rising=rising)
    return fill(depths[:, None] + np.zeros(WIDTH_CELLS), speeds)


def curved(rng: np.random.Generator, *, rising: bool) -> NDArray[np.float32]:
    """CurveVel: the layers of FlatVel, bent; `rising`: velocity grows with depth. (70, 70) m/s."""
    thickness = DEPTH_CELLS / rng.integers(*LAYERS, endpoint=True)
    depths = interfaces(rng, thickness, first=rng.uniform(1.0, 15.0))
    curve = bends(
        rng,
        len(depths),
        half_period=(10.5, 19.0),
        height=(4.0, 20.0),
        growth=(-0.4, 1.6),
        evenness=0.45,
        looseness=1.0,
    )
    speeds = velocities(rng, len(depths) + 1, rising=rising)
    return fill(depths[:, None] + curve - curve[0].min(), speeds)


def interfaces(rng: np.random.Generator, thickness: float, *, first: float) -> NDArray[np.float64]:
    """Depths of the interfaces, in cells: the first, then one after each `thickness` ± 1."""
    below = round(DEPTH_CELLS / thickness) - 1
    steps = thickness + rng.uniform(-1.0, 1.0, below)
    return np.cumsum(np.concatenate([[first], steps]))


def velocities(rng: np.random.Generator, count: int, *, rising: bool) -> NDArray[np.float64]:
    """Whole velocities of `count` layers, independent and uniform, m/s; sorted if `rising`."""
    drawn = rng.integers(int(VELOCITY_MIN_MPS), int(VELOCITY_MAX_MPS), count, endpoint=True)
    return (np.sort(drawn) if rising else drawn).astype(np.float64)


def fill(depths: NDArray[np.float64], speeds: NDArray[np.float64]) -> NDArray[np.float32]:
    """The map (z, x) of layers between interfaces at `depths` (interface, x), in cells."""
    rows = np.arange(DEPTH_CELLS)[None, :, None]
    layer = np.count_nonzero(rows >= np.round(depths)[:, None, :], axis=0)
    return np.asarray(speeds[layer], np.float32)
