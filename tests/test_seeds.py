"""Named seeds and the one function that seeds a run."""

import random

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.seeds import derive, seed_everything


def draws() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002


def test_seed_0_is_seed_0_and_not_seed_1() -> None:
    seed_everything(0)
    first = draws()
    seed_everything(0)
    assert draws() == first
    seed_everything(1)
    assert all(a != b for a, b in zip(draws(), first, strict=True))


@given(st.integers(0, 2**40), st.text(max_size=8), st.integers(0, 1000))
def test_seeds_are_stable_and_tell_purposes_apart(base: int, purpose: str, number: int) -> None:
    seed = derive(base, purpose, number)
    assert seed == derive(base, purpose, number)
    assert 0 <= seed < 2**63
    assert seed != derive(base + 1, purpose, number)
    assert seed != derive(base, purpose + "x", number)
