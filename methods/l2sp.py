"""L2-SP: full fine-tuning with a quadratic penalty towards the foundation's weights.

Li et al. 2018, Explicit Inductive Bias for Transfer Learning with Convolutional Networks,
arXiv:1802.01483: loss + alpha / 2 · ‖w − w₀‖², the foundation's w₀ in place of the zero of weight
decay. Their second term, for a new classifier head, has no object here: the task's head is the
foundation's. They choose alpha on validation data for each task; a config here is the same for all
datasets, and the default 0.01 is our own, to be tuned with the protocol `sweep`. No weight decay
besides. BatchNorm as in full fine-tuning.
"""

from pydantic import NonNegativeFloat
from torch import Tensor, nn

from bench.contract import Adapted, Config, Method, Traits
from methods._surgery import Anchors, everything


class L2SPConfig(Config):
    """Strength of the penalty."""

    alpha: NonNegativeFloat = 0.01
    """Factor of ‖w − w₀‖² / 2 in the loss, which is L1 on [-1, 1]."""


def adapt(model: nn.Module, config: L2SPConfig) -> Adapted:
    """Train every parameter, pulled towards its present value."""
    group = everything(model, weight_decay=0.0)
    anchors = Anchors(group.parameters)

    def penalty() -> Tensor:
        pairs = zip(anchors.tensors, anchors.values(), strict=True)
        squares = [(now - start).square().sum() for now, start in pairs]
        total = squares[0]
        for square in squares[1:]:
            total = total + square
        return config.alpha / 2 * total

    return Adapted(model=model, groups=(group,), merge=lambda: model, penalty=penalty)


method = Method(
    name="l2sp",
    summary="Full fine-tuning with a penalty towards the foundation.",
    source="Li et al. 2018, L2-SP, arXiv:1802.01483",
    traits=Traits(category="full", batchnorm="both", mergeable=True),
    config=L2SPConfig,
    adapt=adapt,
)
