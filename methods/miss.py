"""MiSS: one small trained matrix a layer, repeated along the columns of the weight.

Kang & Yin 2024, MiSS (Matrix Shard Sharing), arXiv:2409.15371: the columns of W are cut into
shards of `rank` columns, and the same trained matrix D (rank, out), which starts at zero, is added
to each (the last shard may be shorter). One factor, so neither a random start nor a scale.
rank · out parameters a layer; the default 64 is PEFT's. 275,616 on InversionNet, whose first layer
has 35 columns.

On (transposed) convolutions the columns are the input channels times the kernel, in this order:
columns that share are `rank` apart. BatchNorm is frozen.
"""

from pydantic import PositiveInt
from torch import Tensor, nn

from bench.contract import Adapted, Method, Traits
from methods._projections import weights
from methods._weights import LayersConfig, WeightUpdate, update_weights


class MiSSConfig(LayersConfig):
    """The width of a shard."""

    rank: PositiveInt = 64
    """Columns of a shard; at most the columns of the layer."""


class SharedShards(WeightUpdate):
    """W ↦ W + (Dᵀ Dᵀ … ), cut to the columns of W."""

    def __init__(self, layer: nn.Module, rank: int) -> None:
        super().__init__(layer)
        rank = min(rank, self.geometry.columns)
        self.D = nn.Parameter(layer.get_parameter("weight").new_zeros(rank, self.geometry.outputs))

    def change(self, matrix: Tensor) -> Tensor:
        columns = matrix.shape[1]
        shards = -(-columns // len(self.D))
        return self.D.repeat(shards, 1)[:columns].T


def adapt(model: nn.Module, config: MiSSConfig) -> Adapted:
    """Put a shared shard on the weight of every chosen layer."""
    chosen = weights(model, config.layers)
    return update_weights(
        model, chosen.values(), lambda layer: SharedShards(layer, config.rank), "miss"
    )


method = Method(
    name="miss",
    summary="One small matrix a layer, added to every shard of its weight.",
    source="Kang & Yin 2024, MiSS, arXiv:2409.15371",
    traits=Traits(category="additive", batchnorm="frozen", mergeable=True),
    config=MiSSConfig,
    grid={"rank": (16, 32, 64, 128)},
    adapt=adapt,
    version=2,
)
