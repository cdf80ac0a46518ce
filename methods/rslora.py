"""rsLoRA: LoRA whose update is scaled by alpha / √rank instead of alpha / rank.

Kalajdzievski 2023, A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA,
arXiv:2312.03732, theorem 3.2: with this scale neither the update nor its gradient vanishes as the
rank grows. The same as `lora` with `rank_stabilised`, as a method of its own. Everything else is
`lora`'s: all (transposed) convolutions and linear layers, the layer's kernel in A, BatchNorm
frozen. rank · (in · kernel + out) parameters a layer, 1,148,480 on InversionNet.
"""

import math

from pydantic import PositiveFloat, PositiveInt
from torch import nn

from bench.contract import Adapted, Method, ParameterGroup, Traits
from methods._low_rank import GRID, LowRankUpdate, check_rank
from methods._projections import weights
from methods._surgery import parameters_of, reparametrize
from methods._weights import LayersConfig


class RsLoRAConfig(LayersConfig):
    """Rank and alpha of `lora`."""

    rank: PositiveInt = 16
    alpha: PositiveFloat = 16.0


def adapt(model: nn.Module, config: RsLoRAConfig) -> Adapted:
    """Put a low-rank update on the weight of every chosen layer."""
    chosen = weights(model, config.layers)
    check_rank(config.rank, chosen)
    scale = config.alpha / math.sqrt(config.rank)
    updates, fold = reparametrize(
        chosen.values(), lambda layer: LowRankUpdate(layer, config.rank, scale)
    )
    group = ParameterGroup(name="rslora", parameters=parameters_of(updates))
    return Adapted(model=model, groups=(group,), merge=lambda: fold(model))


method = Method(
    name="rslora",
    summary="LoRA with the scale alpha / √rank, which is stable in the rank.",
    source="Kalajdzievski 2023, rsLoRA, arXiv:2312.03732",
    traits=Traits(category="additive", batchnorm="frozen", mergeable=True),
    config=RsLoRAConfig,
    grid=GRID,
    adapt=adapt,
)
