"""LoRA-FA: LoRA with a frozen random A; B alone is trained.

Zhang et al. 2023, LoRA-FA: Memory-efficient Low-rank Adaptation, arXiv:2308.03303: the update
stays in the space that the random A spans, and the gradient of A is never needed. A is drawn as
in `lora` and frozen, B starts at zero. rank · out parameters a layer: 16 · 4,321 = 69,136 on
InversionNet. A is not part of a delta: the seed of the run draws it again.

On convolutions A has the layer's own kernel, as in `lora`. The paper's saving of activations
comes from a parallel branch; a weight-space update saves them in `lora` too, so here the gain is
the smaller number of trained parameters. BatchNorm is frozen.
"""

from torch import nn

from bench.contract import Adapted, Method, ParameterGroup, Traits
from methods._low_rank import GRID, LowRankConfig, LowRankUpdate, check_rank
from methods._projections import weights
from methods._surgery import reparametrize


def adapt(model: nn.Module, config: LowRankConfig) -> Adapted:
    """Put a low-rank update on every chosen layer and train its factor B."""
    chosen = weights(model, config.layers)
    check_rank(config.rank, chosen)
    updates, fold = reparametrize(
        chosen.values(), lambda layer: LowRankUpdate(layer, config.rank, config.scale)
    )
    group = ParameterGroup(name="lora_B", parameters=tuple(u.get_parameter("B") for u in updates))
    return Adapted(model=model, groups=(group,), merge=lambda: fold(model))


method = Method(
    name="lora_fa",
    summary="LoRA with a frozen random A; B alone is trained.",
    source="Zhang et al. 2023, LoRA-FA, arXiv:2308.03303",
    traits=Traits(category="additive", batchnorm="frozen", mergeable=True),
    config=LowRankConfig,
    grid=GRID,
    adapt=adapt,
)
