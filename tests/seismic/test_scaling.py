"""The scaling of records and maps: formula, inverse, order, range."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.seismic.scaling import (
    scale_maps,
    scale_records,
    scale_to_half,
    unscale_maps,
    unscale_records,
)

pressures = st.floats(-30, 60, width=32)
velocities = st.floats(1500, 4500, width=32)
anything = st.floats(-1e6, 1e6, width=32)


def one(value: float) -> torch.Tensor:
    return torch.tensor([value], dtype=torch.float32)


@pytest.mark.parametrize(("pressure", "scaled"), [(-30, -1.0), (60, 1.0), (0, -0.0897150)])
def test_records_by_hand(pressure: float, scaled: float) -> None:
    assert float(scale_records(one(pressure))) == pytest.approx(scaled, abs=1e-6)


@pytest.mark.parametrize(("velocity", "scaled"), [(1500, -1.0), (3000, 0.0), (4500, 1.0)])
def test_maps_by_hand(velocity: float, scaled: float) -> None:
    assert float(scale_maps(one(velocity))) == scaled


@given(anything)
def test_records_follow_the_formula(pressure: float) -> None:
    low, high = -math.log1p(30), math.log1p(60)
    compressed = math.copysign(math.log1p(abs(pressure)), pressure)
    expected = 2 * (compressed - low) / (high - low) - 1
    assert float(scale_records(one(pressure))) == pytest.approx(expected, abs=2e-6)


@given(pressures)
def test_records_in_range_and_back(pressure: float) -> None:
    scaled = scale_records(one(pressure))
    assert -1 - 1e-6 <= float(scaled) <= 1 + 1e-6
    assert float(unscale_records(scaled)) == pytest.approx(pressure, rel=1e-5, abs=1e-6)


@given(velocities)
def test_maps_in_range_and_back(velocity: float) -> None:
    scaled = scale_maps(one(velocity))
    assert -1 <= float(scaled) <= 1
    assert float(unscale_maps(scaled)) == pytest.approx(velocity, rel=1e-6)


@given(st.lists(anything, min_size=2, max_size=20))
def test_order_is_kept(values: list[float]) -> None:
    ordered = torch.tensor(sorted(values), dtype=torch.float32)
    for scale in (scale_records, scale_maps):
        assert (scale(ordered).diff() >= 0).all()
    wide = torch.linspace(-30, 60, 500)
    assert (scale_records(wide).diff() > 0).all()


def test_the_input_stays_as_it_is() -> None:
    pressure = torch.linspace(-30, 60, 7)
    before = pressure.clone()
    scale_records(pressure)
    unscale_records(pressure)
    scale_maps(pressure)
    assert torch.equal(pressure, before)


def test_any_shape() -> None:
    values = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 5, 4, 3)))
    assert scale_records(values).shape == scale_maps(values).shape == values.shape
    flat = scale_records(values.flatten())
    assert torch.equal(scale_records(values).flatten(), flat)


def test_every_half_is_scaled_to_the_bits_that_single_precision_rounds_to() -> None:
    """All 65,536, in an array that does not lie in one piece."""
    bits = np.arange(1 << 16, dtype=np.uint16).reshape(256, 256).T
    halves = bits.view(np.float16)
    finite = np.isfinite(halves)
    expected = scale_records(torch.from_numpy(halves.astype(np.float32))).half()
    found = scale_to_half(halves)
    assert found.dtype == torch.float16
    assert torch.equal(found[finite], expected[finite])
    assert not torch.isfinite(found[~torch.from_numpy(finite)]).any()


def test_singles_are_scaled_and_rounded() -> None:
    pressure = np.linspace(-30, 60, 1001, dtype=np.float32)
    expected = scale_records(torch.from_numpy(pressure)).half()
    assert torch.equal(scale_to_half(pressure), expected)
