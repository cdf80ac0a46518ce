"""LoRA+: LoRA whose factor B learns faster than its factor A.

Hayou et al. 2024, LoRA+: Efficient Low Rank Adaptation of Large Models, arXiv:2402.12354: for
wide layers both factors learn features only if the learning rate of B is much larger than that of
A. They recommend a ratio of 2⁴ = 16, the default here; it multiplies the protocol's
rate for B, and A keeps the protocol's. Layers, rank, alpha and count are those of `lora`:
rank · (in · kernel + out) a layer, 1,148,480 on InversionNet. BatchNorm is frozen.
"""

from pydantic import PositiveFloat
from torch import nn

from bench.contract import Adapted, Method, ParameterGroup, Traits
from methods._low_rank import LowRankConfig, LowRankUpdate, check_rank
from methods._projections import weights
from methods._surgery import reparametrize


class LoRAPlusConfig(LowRankConfig):
    """`lora`'s options and the ratio of the two learning rates."""

    ratio: PositiveFloat = 16.0
    """Learning rate of B over that of A."""


def adapt(model: nn.Module, config: LoRAPlusConfig) -> Adapted:
    """Put a low-rank update on every chosen layer, its factors in two groups."""
    chosen = weights(model, config.layers)
    check_rank(config.rank, chosen)
    updates, fold = reparametrize(
        chosen.values(), lambda layer: LowRankUpdate(layer, config.rank, config.scale)
    )
    a, b = (tuple(u.get_parameter(name) for u in updates) for name in "AB")
    groups = (
        ParameterGroup(name="lora_A", parameters=a),
        ParameterGroup(name="lora_B", parameters=b, learning_rate_scale=config.ratio),
    )
    return Adapted(model=model, groups=groups, merge=lambda: fold(model))


method = Method(
    name="lora_plus",
    summary="LoRA with a learning rate for B that is 16 times that for A.",
    source="Hayou et al. 2024, LoRA+, arXiv:2402.12354",
    traits=Traits(category="additive", batchnorm="frozen", mergeable=True),
    config=LoRAPlusConfig,
    grid={"ratio": (4.0, 8.0, 16.0, 32.0)},
    adapt=adapt,
)
