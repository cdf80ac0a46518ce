"""LoKr: a Kronecker product as the update of each weight.

Edalati et al. 2022, KronA, arXiv:2212.10650; Yeh et al. 2024, LyCORIS, arXiv:2309.14859:
W + alpha / rank · W₁ ⊗ W₂. Both channel numbers are split near their square root, out = p · k and
in = m · n with p ≤ k and m ≤ n; W₁ is (p, m). W₂ is (k, n · kernel), and a product of two factors
of the given rank where the rank is below max(k, n) / 2. W₁ starts at zero, W₂ Kaiming uniform.

Where W₂ is full, alpha / rank is a scale alone, as in the PEFT library; LyCORIS has 1 then.

p · m + k · n · kernel parameters a layer, or p · m + rank · (k + n · kernel). On (transposed)
convolutions the kernel belongs to W₂ whole, as LyCORIS has it. Rank and alpha 16 as in `lora`;
InversionNet's W₂ are all full then: 111,928 parameters. BatchNorm is frozen.
"""

import math

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from bench.contract import Adapted, Method, Traits
from methods._projections import weights
from methods._weights import LayersConfig, WeightUpdate, largest_divisor, update_weights


class LoKrConfig(LayersConfig):
    """Rank and alpha of `lora`."""

    rank: PositiveInt = 16
    """Rank of W₂, where that is fewer parameters than all of it."""
    alpha: PositiveFloat = 16.0


class KroneckerUpdate(WeightUpdate):
    """W ↦ W + scale · W₁ ⊗ W₂."""

    def __init__(self, layer: nn.Module, rank: int, scale: float) -> None:
        super().__init__(layer)
        self.scale = scale
        rows, inputs = self.geometry.outputs, self.geometry.inputs
        p, m = (largest_divisor(size, math.isqrt(size)) for size in (rows, inputs))
        k, n = rows // p, inputs // m
        columns = self.geometry.columns // m
        weight = layer.get_parameter("weight")
        self.W1 = nn.Parameter(weight.new_zeros(p, m))
        shapes = [(k, rank), (rank, columns)] if 2 * rank < max(k, n) else [(k, columns)]
        self.W2 = nn.ParameterList(weight.new_empty(shape) for shape in shapes)
        for factor in self.W2:
            nn.init.kaiming_uniform_(factor, a=math.sqrt(5))

    def change(self, matrix: Tensor) -> Tensor:
        factors = list(self.W2)
        second = factors[0] if len(factors) == 1 else factors[0] @ factors[1]
        return self.scale * torch.kron(self.W1, second)


def adapt(model: nn.Module, config: LoKrConfig) -> Adapted:
    """Put a Kronecker product on the weight of every chosen layer."""
    chosen = weights(model, config.layers)
    scale = config.alpha / config.rank
    return update_weights(
        model, chosen.values(), lambda layer: KroneckerUpdate(layer, config.rank, scale), "lokr"
    )


method = Method(
    name="lokr",
    summary="A Kronecker product as the update of every weight.",
    source="Edalati et al. 2022, KronA, arXiv:2212.10650; Yeh et al. 2024, arXiv:2309.14859",
    traits=Traits(category="additive", batchnorm="frozen", mergeable=True),
    config=LoKrConfig,
    grid={"rank": (4, 8, 16, 32), "alpha": (4.0, 8.0, 16.0, 32.0)},
    adapt=adapt,
    version=2,
)
