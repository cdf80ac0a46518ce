"""The learning rate against a table worked out by hand from the protocol."""

import pytest

from bench.training.schedule import factor


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [
        (0, 1e-5),
        (1, 0.8e-5 + 0.2),  # a fifth of the way from 1e-5 to 1
        (2.5, 0.5e-5 + 0.5),
        (4, 0.2e-5 + 0.8),
        (5, 1.0),
        (89, 1.0),
        (90, 0.1),
        (99, 0.1),
        (100, 0.01),
        (119, 0.01),
    ],
)
@pytest.mark.parametrize("steps_per_epoch", [2, 188])
def test_the_full_budget(epoch: float, expected: float, steps_per_epoch: int) -> None:
    step = int(epoch * steps_per_epoch)
    assert factor(step, 120 * steps_per_epoch) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 1e-5), (1, 1.0), (17, 1.0), (18, 0.1), (19, 0.1), (20, 0.01), (23, 0.01)],
)
def test_a_short_budget_keeps_the_proportions(step: int, expected: float) -> None:
    """24 steps: warm-up ends at step 1, decays at 18 (= 24 · 90/120) and 20 (= 24 · 100/120)."""
    assert factor(step, 24) == pytest.approx(expected)
