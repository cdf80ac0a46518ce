"""The data misfit: how far the records of a predicted map are from those of the true one.

A network may be close to a map and far from its data, or the other way round; conventional
full-waveform inversion minimises this number.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from bench.protocol import survey
from bench.seismic.simulation import simulate

VERSION = 1
"""Of the definition; values of another version are not compared."""

Maps = NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Misfit:
    """Of n maps, in their order."""

    relative_l2: NDArray[np.float32]
    """(n,): norm of the difference of the records over the norm of the true map's record."""
    clamped: NDArray[np.float32]
    """(n,): share of cells outside 1500–4500 m/s, which were set to the nearer bound."""
    excess_mps: NDArray[np.float32]
    """(n,): the farthest that a cell lies outside, m/s."""


def clamp(velocity: Maps) -> Maps:
    """Velocities with what lies outside 1500–4500 m/s set to the nearer bound."""
    return np.clip(velocity, survey.VELOCITY_MIN_MPS, survey.VELOCITY_MAX_MPS).astype(np.uint16)


def records_of(velocity: Maps, device: torch.device) -> NDArray[np.float32]:
    """Simulated records (n, 5 shots, 1000 time steps, 70 receivers) of clamped maps (n, 70, 70)."""
    maps = torch.from_numpy(clamp(velocity).astype(np.float32)).to(device)
    records: NDArray[np.float32] = simulate(maps).cpu().numpy()
    return records


def misfit(prediction: Maps, truth: NDArray[np.float32], device: torch.device) -> Misfit:
    """Misfit of predicted maps (n, 70, 70), m/s, with the true maps' records.

    The norm runs over all shots, times and receivers, the direct wave among them, which both maps
    share where their upper layers agree.
    """
    n = len(prediction)
    difference = (records_of(prediction, device) - truth).reshape(n, -1)
    reference = truth.reshape(n, -1)
    velocity = prediction.astype(np.float32)
    outside = np.abs(velocity - clamp(prediction)).reshape(n, -1)
    return Misfit(
        (np.linalg.norm(difference, axis=1) / np.linalg.norm(reference, axis=1)).astype(np.float32),
        (outside > 0).mean(axis=1, dtype=np.float32),
        outside.max(axis=1),
    )
