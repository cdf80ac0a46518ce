"""Physical ↔ network units: one range for every dataset, so that test statistics never leak."""

import math
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.protocol.spec import RULES

_LOW = -math.log1p(RULES.record_scale[0])
_HIGH = math.log1p(RULES.record_scale[1])
_SLOWEST, _FASTEST = RULES.velocity_scale_mps


def scale_records(pressure: Tensor) -> Tensor:
    """a ↦ log1p(|a|)·sign(a), then [-log1p(30), log1p(60)] ↦ [-1, 1]; any shape, monotone."""
    compressed = torch.log1p(pressure.abs()).copysign_(pressure)
    return compressed.sub_(_LOW).mul_(2 / (_HIGH - _LOW)).sub_(1)


def scale_to_half(pressure: NDArray[np.floating]) -> Tensor:
    """`scale_records` in float16, of float32 or float16 pressures; any shape.

    Half precision has 65,536 values, of which a table has the results: half as much work.
    """
    if pressure.dtype != np.float16:
        return scale_records(torch.from_numpy(pressure)).half()
    scaled = _scaled_halves().take(pressure.view(np.uint16), mode="wrap")  # "raise" would buffer
    return torch.from_numpy(scaled).view(torch.float16)


@cache
def _scaled_halves() -> NDArray[np.int16]:
    """Bits of the scaled value of each half-precision number, by its own bits."""
    numbers = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    with np.errstate(invalid="ignore"):  # some of them are signalling NaNs
        pressure = numbers.astype(np.float32)
    bits: NDArray[np.int16] = (
        scale_records(torch.from_numpy(pressure)).half().view(torch.int16).numpy()
    )
    return bits


def unscale_records(scaled: Tensor) -> Tensor:
    """Inverse of `scale_records`."""
    compressed = (scaled + 1) * ((_HIGH - _LOW) / 2) + _LOW
    return torch.expm1(compressed.abs()).copysign_(compressed)


def scale_maps(velocity_mps: Tensor) -> Tensor:
    """[1500, 4500] m/s ↦ [-1, 1]; any shape."""
    return (velocity_mps - _SLOWEST) * (2 / (_FASTEST - _SLOWEST)) - 1


def unscale_maps(scaled: Tensor) -> Tensor:
    """[-1, 1] ↦ [1500, 4500] m/s; inverse of `scale_maps`."""
    return (scaled + 1) * ((_FASTEST - _SLOWEST) / 2) + _SLOWEST
