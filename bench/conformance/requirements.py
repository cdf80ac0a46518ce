"""What the checks share: how a failure is raised, and when two predictions count as the same."""

from torch import Tensor

TOLERANCE = 1e-5
"""Largest difference of predictions on [-1, 1] that counts as the same in float32."""
BFLOAT16_TOLERANCE = 0.02
"""Mean difference of predictions on [-1, 1] between bfloat16 and float32."""


class NonconformanceError(AssertionError):
    """A promise that a method does not keep."""


def require(condition: bool, message: str) -> None:
    """Raise `NonconformanceError` with this message unless the condition holds."""
    if not condition:
        raise NonconformanceError(message)


def difference(a: Tensor, b: Tensor) -> float:
    """Largest absolute difference."""
    return float((a - b).abs().max())
