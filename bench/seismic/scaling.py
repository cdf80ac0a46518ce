"""Physical ↔ network units: one range for every dataset, so that test statistics never leak."""

import math

import torch
from torch import Tensor

from bench.protocol.spec import RULES

_LOW = -math.log1p(RULES.record_scale[0])
_HIGH = math.log1p(RULES.record_scale[1])
_SLOWEST, _FASTEST = RULES.velocity_scale_mps


def scale_records(pressure: Tensor) -> Tensor:
    """a ↦ log1p(|a|)·sign(a), then [-log1p(30), log1p(60)] ↦ [-1, 1]; any shape, monotone."""
    compressed = torch.log1p(pressure.abs()).copysign_(pressure)
    return compressed.sub_(_LOW).mul_(2 / (_HIGH - _LOW)).sub_(1)


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
