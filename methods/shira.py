"""SHiRA: a few single elements of every weight are trained, spread all over it.

Bhardwaj et al. 2024, Sparse High Rank Adapters, arXiv:2406.13175: 1 to 2 % of the weights change,
at fixed places, which makes an update of high rank. The places are random (their SHiRA-Rand) or
those of the largest weights (SHiRA-WM); their masks from gradients need data and are left out. The
change starts at zero. round(density · weights) parameters a layer, at least one; with 2 %
487,921 on InversionNet.

On (transposed) convolutions every element of the kernel counts as a weight of its own. Random
places are not part of a delta: the seed of the run draws them again. BatchNorm is frozen.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from bench.contract import Adapted, Method, Traits
from methods._projections import weights
from methods._weights import LayersConfig, WeightUpdate, update_weights


class SHiRAConfig(LayersConfig):
    """How many elements, and which."""

    density: float = Field(default=0.02, gt=0, le=1)
    """Fraction of each weight's elements that is trained."""
    mask: Literal["random", "magnitude"] = "random"
    """Random elements, or those with the largest magnitude."""


class SparseUpdate(WeightUpdate):
    """W ↦ W + S, with S zero but at fixed places."""

    def __init__(self, layer: nn.Module, config: SHiRAConfig) -> None:
        super().__init__(layer)
        matrix = self.geometry.matrix(layer.get_parameter("weight").detach())
        count = max(1, round(config.density * matrix.numel()))
        if config.mask == "magnitude":
            places = matrix.flatten().abs().topk(count).indices
        else:
            places = torch.randperm(matrix.numel(), device=matrix.device)[:count]
        self.register_buffer("places", places.sort().values)
        """Where the elements are in the flattened matrix."""
        self.elements = nn.Parameter(matrix.new_zeros(count))

    def change(self, matrix: Tensor) -> Tensor:
        zeros = torch.zeros_like(matrix).flatten()
        return zeros.scatter(0, self.get_buffer("places"), self.elements).view_as(matrix)


def adapt(model: nn.Module, config: SHiRAConfig) -> Adapted:
    """Train single elements of the weight of every chosen layer."""
    chosen = weights(model, config.layers)
    return update_weights(
        model, chosen.values(), lambda layer: SparseUpdate(layer, config), "shira"
    )


method = Method(
    name="shira",
    summary="Single elements of every weight, 2 % of them at fixed random places.",
    source="Bhardwaj et al. 2024, SHiRA, arXiv:2406.13175",
    traits=Traits(category="additive", batchnorm="frozen", mergeable=True),
    config=SHiRAConfig,
    grid={"density": (0.005, 0.01, 0.02, 0.05), "mask": ("random", "magnitude")},
    adapt=adapt,
    version=2,
)
