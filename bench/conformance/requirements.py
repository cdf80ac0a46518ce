"""What the checks of methods and of backbones share: tolerances, and how a check fails."""

import copy

import torch
from torch import Tensor, nn

from bench.contract import Backbone, Method
from bench.training.numerics import Numerics

TOLERANCE = 1e-5
"""Largest difference of predictions on [-1, 1] that counts as the same in float32, unless the
network rounds more than that."""
ROUNDINGS = 4
"""Largest one as a multiple of the network's own rounding. Two float32 predictions of the full
InversionNet, each 7e-6 off that in float64, differ by 1.2e-5."""
LAYOUT_TOLERANCE = 1e-4
"""The same between two memory formats, whose kernels add up in other orders: InversionNet's
predictions differ by 7e-6."""
FRUGAL_LOSS_TOLERANCE = 1e-2
"""Largest relative difference of a loss after a few steps, between torch's own layers and the
memory-frugal pass in float32. Adam makes a rate of each rounding error where gradients are zero."""
FRUGAL_GRADIENT_TOLERANCE = 1e-4
"""Largest difference of gradients between the two, relative to the largest gradient."""
BFLOAT16_TOLERANCE = 0.02
"""Mean difference of predictions on [-1, 1] between bfloat16 and float32."""

RUN_NUMERICS = Numerics(device=torch.device("cpu"), bfloat16=False)
"""How a run on a processor places a network: convolutions in channels-last memory."""


class NonconformanceError(AssertionError):
    """A promise that a method or a backbone does not keep."""


def require(condition: bool, message: str) -> None:
    """Raise `NonconformanceError` with the message unless the condition holds."""
    if not condition:
        raise NonconformanceError(message)


def difference(a: Tensor, b: Tensor) -> float:
    """Largest absolute difference of two tensors of one shape."""
    return float((a - b).abs().max())


def same(distance: float, network: nn.Module, x: Tensor) -> bool:
    """Whether float32 predictions that differ so much are the same but for rounding.

    What the network's rounding is, with records `x` of shape (n, 5, 1000, 70), is measured against
    float64 where the difference is above `TOLERANCE`.
    """
    if distance <= TOLERANCE:
        return True
    network = copy.deepcopy(network).eval()
    with torch.no_grad():
        single = network(x).double()
        return distance <= ROUNDINGS * difference(single, network.double()(x.double()))


def neighbours_matter(distance: float) -> str:
    """What to say of a network whose predictions differ so much alone and in a batch."""
    return (
        f"alone and in a batch differ by {distance:.2g}; in evaluation mode a prediction may not "
        "depend on the other samples or on chance, as it does through a mean over dimension 0, "
        "BatchNorm without running statistics, or dropout that stays on"
    )


def require_texts(plugin: Method | Backbone) -> None:
    """Name, summary and source must be one line each, and the name must be easy to type."""
    for field in ("name", "summary", "source"):
        text = getattr(plugin, field)
        require(bool(text) and "\n" not in text, f"its {field} is not one line of text: {text!r}")
    require(
        plugin.name.isidentifier() and plugin.name == plugin.name.lower(),
        f"the name '{plugin.name}' is not made of lower-case letters, digits and underscores",
    )
