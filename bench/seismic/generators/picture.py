"""Pictures of overlapping objects: what the Style family takes from photographs.

A dead-leaves model: each object hides those painted before it, as solid things do in a
photograph, so that outlines are sharp and sizes vary widely.
"""

import numpy as np
from numpy.typing import NDArray

from bench.protocol.survey import DEPTH_CELLS, WIDTH_CELLS

Patch = tuple[slice, slice]


def objects(
    rng: np.random.Generator, *, count: int, half_size: float, hatched: float, cored: float = 0.65
) -> NDArray[np.float64]:
    """A picture (70, 70) of `count` objects, about 1 high, on a ground of 0.

    `half_size` is the median of half an object's extent, in cells; `hatched` is the part of the
    objects that carry stripes, `cored` that of those with a darker core: a ring, once blurred.
    """
    picture = np.zeros((DEPTH_CELLS, WIDTH_CELLS))
    for _ in range(count):
        patch, u, v = _frame(rng, half_size)
        if u.size == 0:
            continue
        body = _distance(rng, u, v)
        level = rng.uniform(0.7, 1.25) * (0.75 + 0.25 * body**2)
        level = level + u * rng.normal(0.0, 0.12) + v * rng.normal(0.0, 0.12)
        if rng.random() < cored:
            core = _distance(rng, *(w / rng.uniform(0.3, 0.6) for w in (u, v)))
            level = np.where(core < 1.0, rng.uniform(-0.15, 0.35), level)
        if rng.random() < hatched:
            stripes = _stripes(rng, patch) * rng.uniform(0.1, 0.35)
            streaked = _distance(rng, u / 0.55, v / 0.55) < 1.0
            level = np.where(streaked, level + stripes, level)
        below = picture[patch]
        if rng.random() < 0.4:
            level = below + (level - below) * np.clip(rng.uniform(0.4, 0.9) - u, 0.0, 1.0)
        picture[patch] = np.where(body < 1.0, level, below)
    return picture


def fringe(rng: np.random.Generator) -> NDArray[np.bool_]:
    """Mask (70, 70) of upright strokes of a few cells at the bottom of the picture."""
    height = np.maximum(rng.normal(0.0, 3.0, WIDTH_CELLS), 0.0)
    tufts = np.repeat(rng.random(WIDTH_CELLS // 7) < 0.6, 7)
    rows = np.arange(DEPTH_CELLS)[:, None]
    return np.asarray(rows > DEPTH_CELLS - 1 - height * tufts)


def _frame(
    rng: np.random.Generator, half_size: float
) -> tuple[Patch, NDArray[np.float64], NDArray[np.float64]]:
    """The part of the picture around a new object, and coordinates in which it has radius 1."""
    z0, x0 = rng.uniform(2.0, DEPTH_CELLS + 4.0), rng.uniform(-4.0, WIDTH_CELLS + 4.0)
    size = half_size * np.exp(rng.normal(0.0, 0.3))
    slender = np.exp(rng.normal(0.05, 0.22))
    tall, wide = size * slender, size / slender
    turn = rng.normal(0.0, 0.5)
    reach = 1.5 * max(tall, wide)
    patch = tuple(
        slice(max(0, int(at - reach)), max(0, min(cells, int(at + reach) + 1)))
        for at, cells in ((z0, DEPTH_CELLS), (x0, WIDTH_CELLS))
    )
    z = np.arange(DEPTH_CELLS)[patch[0], None] - z0
    x = np.arange(WIDTH_CELLS)[None, patch[1]] - x0
    u = (z * np.cos(turn) + x * np.sin(turn)) / tall
    v = (x * np.cos(turn) - z * np.sin(turn)) / wide
    return (patch[0], patch[1]), u, v


def _distance(
    rng: np.random.Generator, u: NDArray[np.float64], v: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distance from the middle of a lobed shape between circle and square, 1 on its outline."""
    square = rng.uniform(0.0, 0.35)
    shift = rng.normal(0.0, 0.12, 2)
    u, v = u - shift[0], v - shift[1]
    around = np.arctan2(v, u)
    lobes = sum(
        rng.normal(0.0, 0.09) * np.cos(k * around + rng.uniform(0.0, 2.0 * np.pi)) for k in (2, 3)
    )
    distance = (1.0 - square) * np.hypot(u, v) + square * np.maximum(np.abs(u), np.abs(v))
    return np.asarray(distance * (1.0 + lobes))


def _stripes(rng: np.random.Generator, patch: Patch) -> NDArray[np.float64]:
    """Stripes of two cells' width, -1 and 1."""
    angle, period = rng.uniform(-0.9, 0.9), rng.uniform(2.5, 3.5)
    z, x = np.ogrid[patch]
    along: NDArray[np.float64] = x * np.cos(angle) + z * np.sin(angle)
    return np.sign(np.sin(2.0 * np.pi / period * along))
