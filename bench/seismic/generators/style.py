"""Style family: velocity that grows with depth and takes its texture from a picture."""

import numpy as np
from numpy.typing import NDArray

from bench.protocol.survey import DEPTH_CELLS, VELOCITY_MAX_MPS, VELOCITY_MIN_MPS
from bench.seismic.generators import picture


def smooth(rng: np.random.Generator) -> NDArray[np.float32]:
    """Style_A: blurred objects, with no edge left, over an uneven trend. (70, 70) m/s."""
    drawn = picture.objects(
        rng, count=int(rng.integers(14, 30)), half_size=5.6, hatched=0.0, cored=0.25
    )
    texture = _blur(drawn, (rng.uniform(1.8, 3.4), rng.uniform(1.8, 3.4)))
    strength = np.exp(rng.uniform(np.log(0.12), np.log(0.6)))
    trend = _trend(rng, evenness=1.2, reach=2.5)
    relative = (0.92 - 0.6 * strength) * trend**1.1 + strength * texture
    return _velocity(relative, low=rng.uniform(1515.0, 1680.0), high=rng.uniform(4100.0, 4450.0))


def sharp(rng: np.random.Generator) -> NDArray[np.float32]:
    """Style_B: objects with sharp outlines over a smooth trend. (70, 70) m/s."""
    texture = picture.objects(rng, count=int(rng.integers(24, 40)), half_size=6.2, hatched=0.25)
    texture = _blur(texture + 0.4 * picture.fringe(rng), (0.45, 0.45))
    grain = _blur(rng.standard_normal(texture.shape), (1.0, 1.0))
    strength = rng.uniform(0.19, 0.23)
    relative = 0.81 * _trend(rng, evenness=3.0, reach=3.0) + strength * texture + 0.012 * grain
    return _velocity(relative, low=rng.uniform(1560.0, 1740.0), high=rng.uniform(4150.0, 4430.0))


def _trend(rng: np.random.Generator, *, evenness: float, reach: float) -> NDArray[np.float64]:
    """A column (70, 1) that rises from 0 at the top to 1 at the bottom, smooth over `reach` cells.

    Slopes of ten intervals of depth are gamma distributed: the larger `evenness`, their shape
    parameter, the closer the trend is to a straight line.
    """
    rise = np.concatenate([[0.0], np.cumsum(rng.gamma(evenness, size=10))])
    column = np.interp(np.linspace(0.0, 10.0, DEPTH_CELLS), np.arange(11), rise / rise[-1])
    return _blur(column[:, None], (reach, 0.0))


def _blur(field: NDArray[np.float64], cells: tuple[float, float]) -> NDArray[np.float64]:
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(field, cells, mode="nearest"))


def _velocity(relative: NDArray[np.float64], *, low: float, high: float) -> NDArray[np.float32]:
    """Velocities of a texture, `low` m/s at 0 and `high` at 1 or at its maximum if that is more."""
    speeds = low + (high - low) * relative / max(1.0, relative.max())
    return np.asarray(np.clip(speeds, VELOCITY_MIN_MPS, VELOCITY_MAX_MPS), np.float32)
