"""LoHa: the elementwise product of two low-rank updates, of rank up to rank².

Hyeon-Woo et al. 2022, FedPara, arXiv:2108.06098, proposition 1, as a fine-tuning method in Yeh et
al. 2024, LyCORIS, arXiv:2309.14859: W + alpha / rank · (B₁A₁) ∘ (B₂A₂). A₂ starts at zero, the
others Kaiming uniform, so the update starts at zero. 2 · rank · (in · kernel + out) parameters a
layer.

On (transposed) convolutions the matrix is (out, in · kernel), FedPara's proposition for linear
layers; its Tucker form for convolutions (proposition 3), which PEFT libraries have as an option,
is left out. Rank and alpha 8, half of `lora`'s: as many parameters, 1,148,480 on InversionNet.
BatchNorm is frozen.
"""

import math

from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from bench.contract import Adapted, Method, Traits
from methods._low_rank import check_rank
from methods._projections import weights
from methods._weights import LayersConfig, WeightUpdate, update_weights


class LoHaConfig(LayersConfig):
    """Half the rank of `lora`, for as many parameters."""

    rank: PositiveInt = 8
    alpha: PositiveFloat = 8.0


class HadamardUpdate(WeightUpdate):
    """W ↦ W + scale · (B₁A₁) ∘ (B₂A₂)."""

    def __init__(self, layer: nn.Module, rank: int, scale: float) -> None:
        super().__init__(layer)
        self.scale = scale
        weight = layer.get_parameter("weight")
        rows, columns = self.geometry.outputs, self.geometry.columns
        self.B1 = nn.Parameter(weight.new_empty(rows, rank))
        self.A1 = nn.Parameter(weight.new_empty(rank, columns))
        self.B2 = nn.Parameter(weight.new_empty(rows, rank))
        self.A2 = nn.Parameter(weight.new_zeros(rank, columns))
        for factor in (self.B1, self.A1, self.B2):
            nn.init.kaiming_uniform_(factor, a=math.sqrt(5))

    def change(self, matrix: Tensor) -> Tensor:
        return self.scale * (self.B1 @ self.A1) * (self.B2 @ self.A2)


def adapt(model: nn.Module, config: LoHaConfig) -> Adapted:
    """Put a Hadamard product of low-rank updates on the weight of every chosen layer."""
    chosen = weights(model, config.layers)
    check_rank(config.rank, chosen)
    scale = config.alpha / config.rank
    return update_weights(
        model, chosen.values(), lambda layer: HadamardUpdate(layer, config.rank, scale), "loha"
    )


method = Method(
    name="loha",
    summary="The elementwise product of two low-rank updates of every weight.",
    source="Hyeon-Woo et al. 2022, FedPara, arXiv:2108.06098; Yeh et al. 2024, arXiv:2309.14859",
    traits=Traits(category="additive", batchnorm="frozen", mergeable=True),
    config=LoHaConfig,
    grid={"rank": (2, 4, 8, 16, 32), "alpha": (4.0, 8.0, 16.0)},
    adapt=adapt,
    version=2,
)
