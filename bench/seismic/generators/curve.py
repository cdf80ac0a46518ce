"""The curve that bends layers: crests and troughs whose heights and distances vary along x."""

import numpy as np
from numpy.typing import NDArray

from bench.protocol.survey import WIDTH_CELLS


def bends(
    rng: np.random.Generator,
    count: int,
    *,
    half_period: tuple[float, float],
    height: tuple[float, float],
    growth: tuple[float, float] = (0.0, 0.0),
    looseness: float = 0.0,
    evenness: float = 0.75,
) -> NDArray[np.float64]:
    """Depths (count, 70), in cells downwards, of one curve that `count` interfaces share.

    Crests and troughs alternate, joined by half cosines. `half_period` is the range of their mean
    distance and `height` that of their mean difference in depth, in cells. `growth` is the range
    of the relative growth of the height from the left edge to the right. Interfaces differ from
    each other by at most 2 × `looseness` cells, smoothly along x. `evenness` in (0, 1] is the
    shortest distance of a crest and a trough, as a part of the mean; heights vary a little more.
    """
    step, size, grow = rng.uniform(*half_period), rng.uniform(*height), rng.uniform(*growth)
    knots = int(1.6 * WIDTH_CELLS / step) + 4
    place = np.cumsum(step * rng.uniform(evenness, 2.0 - evenness, knots))
    place -= step * rng.uniform(1.25, 2.25)
    swing = (
        0.5 * size * rng.uniform(evenness - 0.2, 2.2 - evenness, knots) * rng.choice([-1.0, 1.0])
    )
    swing *= (-1.0) ** np.arange(knots) * (1.0 + grow * (place / WIDTH_CELLS - 0.5))
    depths = swing + rng.uniform(-looseness, looseness, (count, knots))

    columns = np.arange(WIDTH_CELLS)
    # Narrow distances may leave the last columns behind the last knot: the curve ends flat there
    right = np.minimum(np.searchsorted(place, columns, side="right"), knots - 1)
    part = (columns - place[right - 1]) / (place[right] - place[right - 1])
    part[columns >= place[-1]] = 1.0
    weight = 0.5 - 0.5 * np.cos(np.pi * part)
    curves: NDArray[np.float64] = depths[:, right - 1] * (1.0 - weight) + depths[:, right] * weight
    return curves
