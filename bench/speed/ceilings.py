"""Upper bounds of this machine: matrix products and memory copies, measured."""

from collections.abc import Callable

import torch

from bench.training.numerics import Numerics

_SIDE = {"cpu": 2048, "cuda": 8192}
_COPY_BYTES = {"cpu": 256 * 2**20, "cuda": 2**30}


def matrix_product(numerics: Numerics) -> tuple[Callable[[], object], float]:
    """A square matrix product in the training precision, and its floating-point operations."""
    side = _SIDE[numerics.device.type]
    dtype = torch.bfloat16 if numerics.bfloat16 else torch.float32
    # Random numbers: chips that draw less power on constant ones run them faster
    a = torch.randn((side, side), device=numerics.device).to(dtype)
    b = torch.randn((side, side), device=numerics.device).to(dtype)
    return lambda: a @ b, 2.0 * side**3


def memory_copy(numerics: Numerics) -> tuple[Callable[[], object], float]:
    """A copy far larger than any cache, and the bytes it reads and writes."""
    count = _COPY_BYTES[numerics.device.type]
    source = torch.ones(count // 4, device=numerics.device)
    target = torch.empty_like(source)
    return lambda: target.copy_(source), 2.0 * count
