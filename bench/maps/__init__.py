"""Velocity-map generators, one for each of OpenFWI's ten datasets.

Each dataset's maps have the structure and the statistics of the real family: number, spacing and
order of layers, shape of curves, number, dip and sharpness of faults, texture and depth trend.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError, UnknownNameError
from bench.maps import faulted, layered, style
from bench.spec import DATASETS

GENERATOR_VERSION: Final = 1
"""Changes whenever any map changes."""


def velocity_map(
    dataset: str, rng: np.random.Generator, *, layers: int | None = None
) -> NDArray[np.float32]:
    """One map of `dataset`, (70, 70) as (z, x), m/s in [1500, 4500]; depends on `rng` alone.

    `layers` is the layer count that the real files carry in their names: 2, 3 or 4 for
    Fault_A, 6, 7 or 8 for Fault_B (equal numbers of each in the release), None for Vel and Style.

    Raises BenchError for an unknown dataset or a layer count that it does not have.
    """
    if dataset not in DATASETS:
        raise UnknownNameError("dataset", dataset, DATASETS)
    family, kind = dataset.split("_")
    if "Fault" in family:
        known = (2, 3, 4) if kind == "A" else (6, 7, 8)
        if layers not in known:
            raise BenchError(f"{dataset} has maps of {known} layers, not {layers}: pass one of them.")
        make = faulted.single_fault if kind == "A" else faulted.crossing_faults
        return make(rng, layers, bent=family == "CurveFault")
    if layers is not None:
        raise BenchError(f"{dataset} draws its number of layers itself: leave out layers={layers}.")
    if family == "Style":
        return style.smooth(rng) if kind == "A" else style.sharp(rng)
    make_layers = layered.flat if family == "FlatVel" else layered.curved
    return make_layers(rng, rising=kind == "A")
