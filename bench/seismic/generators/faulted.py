"""Fault family: layers whose velocity grows with depth, broken and displaced by faults."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.protocol.survey import DEPTH_CELLS, WIDTH_CELLS
from bench.seismic.generators.curve import bends
from bench.seismic.generators.layered import velocities

BLEND = 3
"""Points along each side of a cell whose mean is the cell's velocity in Fault_A."""


class Rock(NamedTuple):
    """Position, before any fault moved it, of the rock at each point of a grid, in cells."""

    depth: NDArray[np.float64]
    position: NDArray[np.float64]


def single_fault(rng: np.random.Generator, layers: int, *, bent: bool) -> NDArray[np.float32]:
    """FlatFault_A, CurveFault_A: one dipping fault, interfaces blended over one cell."""
    spacing = rng.uniform(0.8, 1.25) * DEPTH_CELLS / layers
    middle = rng.uniform(26.0, 35.0) if layers > 2 else rng.uniform(19.0, 40.0)
    depths = _evenly(middle, spacing, layers - 1)
    curve = np.zeros(WIDTH_CELLS)
    if bent:
        curve = bends(rng, 1, half_period=(18.0, 36.0), height=(5.0, 20.0))[0]
    rock = slip(
        rng,
        grid(BLEND),
        depths=(middle - 5.0, middle + 5.0),
        dip_degrees=(38.0, 78.0),
        displacement=(5.0, 14.0),
        normal=0.9,
        width=rng.uniform(0.5, 2.5),
    )
    fine = velocities(rng, layers, rising=True)[layer_of(rock, depths, curve)]
    cells = fine.reshape(DEPTH_CELLS, BLEND, WIDTH_CELLS, BLEND).mean(axis=(1, 3))
    return np.asarray(np.round(cells), np.float32)


def crossing_faults(rng: np.random.Generator, layers: int, *, bent: bool) -> NDArray[np.float32]:
    """FlatFault_B, CurveFault_B: two to four crossing faults, sharp edges."""
    spacing = rng.uniform(0.85, 1.4) * DEPTH_CELLS / layers
    middle = rng.uniform(27.6, 41.1) if bent else rng.uniform(26.0, 39.5)
    depths = _evenly(middle, spacing, layers - 1)
    curve = np.zeros(WIDTH_CELLS)
    if bent:
        curve = bends(rng, 1, half_period=(9.0, 14.0), height=(10.0, 28.0))[0]
    rock = grid(1)
    for _ in range(rng.integers(2, 4, endpoint=True)):
        rock = slip(
            rng,
            rock,
            depths=(14.0, 56.0),
            dip_degrees=(42.0, 88.0),
            displacement=(5.0, 26.0),
            rightward=0.8,
            roughness=0.15,
        )
    speeds = velocities(rng, layers, rising=True)
    return np.asarray(speeds[layer_of(rock, depths, curve)], np.float32)


def _evenly(middle: float, spacing: float, count: int) -> NDArray[np.float64]:
    return middle + spacing * (np.arange(count, dtype=np.float64) - 0.5 * (count - 1))


def grid(finer: int) -> Rock:
    """Rock that no fault has moved, at `finer` × `finer` points a cell."""
    axes = ((np.arange(n * finer) + 0.5) / finer - 0.5 for n in (DEPTH_CELLS, WIDTH_CELLS))
    return Rock(*np.meshgrid(*axes, indexing="ij"))


def slip(
    rng: np.random.Generator,
    rock: Rock,
    *,
    depths: tuple[float, float],
    dip_degrees: tuple[float, float],
    displacement: tuple[float, float],
    rightward: float = 0.5,
    normal: float = 0.5,
    width: float = 0.0,
    roughness: float = 0.0,
) -> Rock:
    """The rock after one side of a fault slid along it, up or down, by `displacement` cells.

    The fault is a straight line through a random point at one of `depths`. `rightward` is the
    chance that it dips to the right, `normal` the chance that the rock above it moved down
    relative to the rock below. `width` is the thickness of the zone that drags and `roughness` the
    standard deviation of the fault's outline, both in cells.
    """
    depth, position = grid(len(rock.depth) // DEPTH_CELLS)
    dip = np.deg2rad(rng.uniform(*dip_degrees))
    facing = 1.0 if rng.random() < rightward else -1.0
    down, right = np.sin(dip), np.cos(dip) * facing
    z0, x0 = rng.uniform(*depths), rng.uniform(0.2, 0.8) * WIDTH_CELLS
    above = ((position - x0) * down - (depth - z0) * right) * facing
    if roughness:
        above = above + roughness * rng.standard_normal((len(depth), 1))
    side = rng.choice([-1.0, 1.0])
    part = np.clip(side * above / width + 0.5, 0.0, 1.0) if width else (side * above > 0.0) * 1.0
    sense = 1.0 if rng.random() < normal else -1.0
    moved = part * side * sense * rng.uniform(*displacement)
    return _moved(rock, depth - moved * down, position - moved * right)


def _moved(rock: Rock, depth: NDArray[np.float64], position: NDArray[np.float64]) -> Rock:
    """Rock whose points were at the given places before; beyond the grid they go on steadily."""
    finer = len(rock.depth) // DEPTH_CELLS
    row = np.rint((depth + 0.5) * finer - 0.5).astype(np.intp)
    column = np.rint((position + 0.5) * finer - 0.5).astype(np.intp)
    inside = (np.clip(row, 0, len(rock.depth) - 1), np.clip(column, 0, rock.depth.shape[1] - 1))
    beyond = ((row - inside[0]) / finer, (column - inside[1]) / finer)
    return Rock(rock.depth[inside] + beyond[0], rock.position[inside] + beyond[1])


def layer_of(
    rock: Rock, depths: NDArray[np.float64], curve: NDArray[np.float64]
) -> NDArray[np.intp]:
    """Number of the layer, from the top, that each point's rock belongs to."""
    level = rock.depth - np.interp(rock.position, np.arange(WIDTH_CELLS), curve)
    return np.searchsorted(depths, level, side="right")
