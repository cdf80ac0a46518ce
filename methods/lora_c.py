"""LoRA-C: LoRA that splits a convolution's kernel between its two factors.

Ding et al. 2024, LoRA-C: Parameter-Efficient Fine-Tuning of Robust CNN for IoT Devices,
arXiv:2410.16954: the weight of a convolution with a k × k kernel is unfolded into a matrix
(out · k, in · k), and its update is alpha / rank · BA with B (out · k, rank · k) and
A (rank · k, in · k). B starts at zero, A as in `lora`.

Open in the paper, chosen here: for a kernel of height h and width w the matrix is
(out · h, in · w) and the inner size rank · min(h, w); rows are output channels and kernel rows,
columns input channels and kernel columns (the authors' code reads the product in the order of
memory, which mixes them). Transposed convolutions alike; linear layers as in `lora`.
rank · min(h, w) · (out · h + in · w) parameters a layer. Rank and alpha 4: at equal rank it has
about twice the parameters of `lora`. 568,248 on InversionNet. BatchNorm is frozen.
"""

import math

from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from bench.contract import Adapted, Method, Traits
from methods._low_rank import check_rank
from methods._projections import weights
from methods._weights import LayersConfig, WeightUpdate, update_weights


class LoRACConfig(LayersConfig):
    """A rank for each row or column of the kernel."""

    rank: PositiveInt = 4
    alpha: PositiveFloat = 4.0


class UnfoldedUpdate(WeightUpdate):
    """W ↦ W + scale · BA on the matrix (out · height, in · width)."""

    def __init__(self, layer: nn.Module, rank: int, scale: float) -> None:
        super().__init__(layer)
        self.scale = scale
        self.height, self.width = self.geometry.kernel or (1, 1)
        rank *= min(self.height, self.width)
        weight = layer.get_parameter("weight")
        self.A = nn.Parameter(weight.new_empty(rank, self.geometry.inputs * self.width))
        self.B = nn.Parameter(weight.new_zeros(self.geometry.outputs * self.height, rank))
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))

    def change(self, matrix: Tensor) -> Tensor:
        product = self.scale * (self.B @ self.A)
        split = product.view(self.geometry.outputs, self.height, self.geometry.inputs, self.width)
        return split.transpose(1, 2).flatten(1)


def adapt(model: nn.Module, config: LoRACConfig) -> Adapted:
    """Put a low-rank update of the unfolded weight on every chosen layer."""
    chosen = weights(model, config.layers)
    check_rank(config.rank, chosen)
    scale = config.alpha / config.rank
    return update_weights(
        model, chosen.values(), lambda layer: UnfoldedUpdate(layer, config.rank, scale), "lora_c"
    )


method = Method(
    name="lora_c",
    summary="Low-rank updates of unfolded kernels, rows in one factor and columns in the other.",
    source="Ding et al. 2024, LoRA-C, arXiv:2410.16954",
    traits=Traits(category="additive", batchnorm="frozen", mergeable=True),
    config=LoRACConfig,
    grid={"rank": (1, 2, 4, 8, 16), "alpha": (1.0, 2.0, 4.0, 8.0, 16.0)},
    adapt=adapt,
    version=2,
)
