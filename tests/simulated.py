"""Simulation that is done once for each map, for tests that read, check and damage its records."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from bench.seismic import simulation

_simulate = simulation.simulate


@lru_cache(maxsize=64)
def _record(content: bytes, shape: tuple[int, ...], peak_hz: float | None) -> Tensor:
    velocity = np.frombuffer(content, dtype=np.float32).reshape(1, *shape)
    return _simulate(torch.from_numpy(velocity.copy()), peak_hz=peak_hz)


def once(velocity_mps: Tensor, *, peak_hz: float | None = None) -> Tensor:
    """The same as `simulation.simulate` on a CPU, bit for bit, whose result depends on nothing
    but the map; `tests/seismic` and `tests/data/test_generate.py` test that itself.
    """
    maps = velocity_mps.float().numpy()
    return torch.cat([_record(one.tobytes(), one.shape, peak_hz) for one in maps])
