"""Spatial information of velocity maps: the paper's measure of a dataset's complexity."""

import numpy as np
from numpy.typing import NDArray


def spatial_information(maps_mps: NDArray[np.floating] | NDArray[np.uint16]) -> NDArray[np.float64]:
    """Mean Sobel gradient magnitude of each map (n, 70, 70), in m/s per cell (n,).

    Scaled as scikit-image's `sobel`: sqrt((gz² + gx²)/2) with mirrored edges, where a ramp of 1 m/s
    a cell has g = 2 (Yu and Winkler 2013, doi:10.1109/QoMEX.2013.6603194).
    """
    v = np.pad(maps_mps.astype(np.float64), ((0, 0), (1, 1), (1, 1)), mode="symmetric")
    smooth_x = (v[:, :, :-2] + 2 * v[:, :, 1:-1] + v[:, :, 2:]) / 4
    smooth_z = (v[:, :-2] + 2 * v[:, 1:-1] + v[:, 2:]) / 4
    down = smooth_x[:, 2:] - smooth_x[:, :-2]
    across = smooth_z[:, :, 2:] - smooth_z[:, :, :-2]
    return np.asarray(np.sqrt((down**2 + across**2) / 2).mean(axis=(1, 2)))
