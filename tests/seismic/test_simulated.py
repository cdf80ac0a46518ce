"""The simulation of tests that simulate each map once gives what the simulation gives."""

import numpy as np
import torch
from simulated import once

from bench.seismic import generators, simulation


def test_kept_records_are_those_of_the_simulation() -> None:
    """Bit for bit, of maps in any order and of another source; a kept record is not shared."""
    rng = np.random.default_rng(0)
    maps = [generators.velocity_map("CurveFault_B", rng, layers=7) for _ in range(2)]
    velocity = torch.from_numpy(np.stack(maps))
    expected = simulation.simulate(velocity)
    once(velocity).zero_()
    assert torch.equal(once(velocity), expected)
    assert torch.equal(once(velocity.flip(0)), expected.flip(0))
    low = once(velocity[:1], peak_hz=10.0)
    assert torch.equal(low, simulation.simulate(velocity[:1], peak_hz=10.0))
    assert not torch.equal(low, expected[:1])
