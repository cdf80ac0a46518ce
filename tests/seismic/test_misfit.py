"""The data misfit against hand-worked cases and the physics of the forward operator."""

import numpy as np
import pytest
import torch

from bench.seismic.misfit import clamp, misfit, records_of
from bench.seismic.simulation import simulate

CPU = torch.device("cpu")


def layered(lower: int, depth: int = 30) -> np.ndarray:
    velocity = np.full((1, 70, 70), 2000, dtype=np.uint16)
    velocity[:, depth:] = lower
    return velocity


def test_the_true_map_has_no_misfit_and_a_wrong_one_the_norms_by_hand() -> None:
    truth, wrong = layered(3000), layered(3300)
    records = records_of(truth, CPU)
    assert misfit(truth, records, CPU).relative_l2 == pytest.approx([0.0])
    a, b = (simulate(torch.from_numpy(m.astype(np.float32))).double() for m in (truth, wrong))
    by_hand = float(((b - a) ** 2).sum().sqrt() / (a**2).sum().sqrt())
    assert misfit(wrong, records, CPU).relative_l2 == pytest.approx([by_hand], rel=1e-5)
    assert 0 < by_hand < 1


def test_a_deep_error_is_felt_less_than_a_shallow_one() -> None:
    shallow, deep = layered(2600, depth=20), layered(2600, depth=60)
    truth = np.full((1, 70, 70), 2000, dtype=np.uint16)
    records = records_of(truth, CPU)
    assert misfit(deep, records, CPU).relative_l2 < misfit(shallow, records, CPU).relative_l2


def test_cells_outside_the_range_are_set_to_the_bound_and_counted() -> None:
    inside = layered(4500)
    outside = inside.copy()
    outside[:, 60:65] = 5000
    outside[0, 0, 0] = 1400
    assert clamp(outside).min() == 1500 and clamp(outside).max() == 4500
    records = records_of(inside, CPU)
    found = misfit(outside, records, CPU)
    inside[0, 0, 0] = 1500
    same = misfit(inside, records, CPU)
    assert found.relative_l2 == same.relative_l2
    assert found.clamped == pytest.approx([(5 * 70 + 1) / 4900])
    assert found.excess_mps == [500]
    assert same.clamped == [0] and same.excess_mps == [0]
