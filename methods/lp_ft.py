"""LP-FT: the head first, on fixed features, then everything.

Kumar et al. 2022, Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution,
arXiv:2202.10054. The head is the network's last part, as in `head`; the rest joins after a fifth
of the epochs (our choice: the paper trains both stages to convergence, the protocol has one budget
for all methods). All parameters with the protocol's weight decay.

Policy ``both``: a BatchNorm layer is in training mode where its scale and shift are being trained,
so in the first stage the features are fixed indeed, running statistics included.
"""

from typing import Annotated

from pydantic import Field
from torch import nn

from bench.contract import Adapted, Config, Method, ParameterGroup, Traits
from methods._surgery import PROTOCOL_WEIGHT_DECAY, parameters_of, parts


class LPFTConfig(Config):
    """When the second stage begins."""

    head_only: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Fraction of the epochs in which the head is trained alone."""


def adapt(model: nn.Module, config: LPFTConfig) -> Adapted:
    """Train the head from the start and the rest from `head_only` on."""
    *_, head = parts(model).values()
    first = parameters_of([head])
    known = set(first)
    body = tuple(p for p in model.parameters() if p not in known)
    groups = (
        ParameterGroup(name="head", parameters=first, weight_decay=PROTOCOL_WEIGHT_DECAY),
        ParameterGroup(
            name="body",
            parameters=body,
            weight_decay=PROTOCOL_WEIGHT_DECAY,
            active=(config.head_only, 1.0),
        ),
    )
    return Adapted(model=model, groups=groups, merge=lambda: model)


method = Method(
    name="lp_ft",
    summary="The head first, then full fine-tuning.",
    source="Kumar et al. 2022, LP-FT, arXiv:2202.10054",
    traits=Traits(category="full", batchnorm="both", mergeable=True),
    config=LPFTConfig,
    adapt=adapt,
)
