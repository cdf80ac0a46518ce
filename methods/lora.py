"""LoRA in weight space: one layer with W + s·BA, no extra activations.

Hu et al. 2021, LoRA: Low-Rank Adaptation of Large Language Models, arXiv:2106.09685. Defaults:
rank 16 and alpha 16 on all (transposed) convolutions and linear layers, those of attention and MLP
included, the choice of Ghosal et al. 2024 (Table II); on InversionNet 1,148,480 parameters. A fused
projection of queries, keys and values is one matrix unless its parts are chosen by name, as in the
authors' code: ``layers=*.q,*.v``.

Adding BA to the weight gives the same outputs and gradients as the usual parallel branch, but
keeps no activations of its own. There is no dropout option: LoRA's dropout draws zeros in the
*input* of the branch, anew for each sample, and no single weight for a batch can do that.

BatchNorm is frozen: the statistics belong to the foundation, the low-rank factors alone are the
adapter.
"""

from torch import nn

from bench.contract import Adapted, Method, ParameterGroup, Traits
from methods._low_rank import GRID, LowRankConfig, LowRankUpdate, check_rank
from methods._projections import weights
from methods._surgery import parameters_of, reparametrize


def adapt(model: nn.Module, config: LowRankConfig) -> Adapted:
    """Put a low-rank update on the weight of every chosen layer."""
    chosen = weights(model, config.layers)
    check_rank(config.rank, chosen)
    updates, fold = reparametrize(
        chosen.values(), lambda layer: LowRankUpdate(layer, config.rank, config.scale)
    )
    group = ParameterGroup(name="lora", parameters=parameters_of(updates))
    return Adapted(model=model, groups=(group,), merge=lambda: fold(model))


method = Method(
    name="lora",
    summary="Low-rank updates of all convolutions and linear layers, in weight space.",
    source="Hu et al. 2021, LoRA, arXiv:2106.09685; rank and alpha of Ghosal et al. 2024",
    traits=Traits(category="additive", batchnorm="frozen", mergeable=True),
    config=LowRankConfig,
    grid=GRID,
    adapt=adapt,
)
