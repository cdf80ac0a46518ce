"""Velocity maps with the structure and statistics of OpenFWI's ten datasets, made from a seed.

Every map is (70, 70) in the axis order (z, x), cells of 10 m, velocities in [1500, 4500] m/s.
The descriptions are measured on real maps; see Deng et al. 2022 (arXiv:2111.02926) for the data.

FlatVel
    Horizontal layers, 70/n ± 1 cells thick with n from 2 to 7; the first layer has 0.45 to
    1.4 times that thickness, and the bottom cuts off the last. Whole velocities, drawn
    independently and uniformly from 1500 to 4500 m/s; in A they are sorted to grow with depth.
CurveVel
    The same layers, all bent by one curve of alternating crests and troughs, whose amplitude and
    period vary along x and which swings more to the right; interfaces follow it to ± 1 cell.
FlatFault, CurveFault
    Layers whose velocity grows with depth, 2 to 4 of them in A and 6 to 8 in B. A: one dipping
    fault, nine times out of ten a normal one, and interfaces blended over one cell. B: two to four
    faults that cross and displace each other, four out of five dipping to the right, with sharp
    edges. In CurveFault the layers are bent: gently in A, shorter and stronger in B.
Style
    An uneven growth with depth, textured by a picture of overlapping objects. A: blurred, with a
    correlation length of about 3.5 cells. B: sharp outlines, cores, stripes and a fringe of
    upright strokes along the bottom. Velocities are not whole.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError, UnknownNameError
from bench.protocol.spec import DATASETS
from bench.seismic.generators import faulted, layered, style

FAULT_LAYERS: Final = {"A": (2, 3, 4), "B": (6, 7, 8)}
"""Layer counts of the Fault datasets; the release has as many maps of each."""


def velocity_map(
    dataset: str, rng: np.random.Generator, *, layers: int | None = None
) -> NDArray[np.float32]:
    """One map of `dataset`, (70, 70) as (z, x), m/s in [1500, 4500]; depends on `rng` alone.

    `layers` is needed for the Fault datasets (A: 2, 3 or 4; B: 6, 7 or 8), where file names carry
    it, and must be None for the others. A layer that faults move out of the map does not show.

    Raises BenchError for an unknown dataset or a layer count that the dataset does not have.
    """
    if dataset not in DATASETS:
        raise UnknownNameError("dataset", dataset, DATASETS)
    family, kind = dataset.split("_")
    if "Fault" in family:
        if layers not in FAULT_LAYERS[kind]:
            counts = ", ".join(map(str, FAULT_LAYERS[kind]))
            raise BenchError(f"{dataset} has no maps of {layers} layers; pass one of {counts}.")
        faults = faulted.single_fault if kind == "A" else faulted.crossing_faults
        return faults(rng, layers, bent=family == "CurveFault")
    if layers is not None:
        raise BenchError(f"{dataset} draws its number of layers itself; leave out layers={layers}.")
    if family == "Style":
        return style.smooth(rng) if kind == "A" else style.sharp(rng)
    layered_map = layered.flat if family == "FlatVel" else layered.curved
    return layered_map(rng, rising=kind == "A")
