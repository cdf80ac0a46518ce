"""Filter atoms: the few spatial patterns that all filters of a layer are made of are trained.

Chen, Miao & Qiu 2024, Large Convolutional Model Tuning via Filter Subspace, arXiv:2403.00269:
each k × k filter is a combination of m atoms, W = α D, with coefficients α (out · in, m) that say
how channels mix and stay frozen, and atoms D (m, k²) that are trained. 9 atoms as in the authors'
code. Written as W + α ΔD, ΔD starting at zero, the part of W that few atoms cannot express is kept.
min(m, kernel) · kernel parameters a layer: 2,524 on InversionNet.

Chosen here: the authors find α by sparse coding from a random start; here D is the first m right
singular vectors of W as a matrix (out · in, kernel) and α = W Dᵀ, which needs no random numbers.
Linear layers and 1 × 1 convolutions have no spatial filters; their weights are cut into blocks of
4 × 4 channels (fewer where 4 does not divide them) that serve as filters, as the authors do for
coefficients. Transposed convolutions alike. BatchNorm is frozen.
"""

from math import prod

from pydantic import PositiveInt
from torch import Tensor, nn

from bench.contract import Adapted, Method, Traits
from methods._projections import weights
from methods._weights import (
    LayersConfig,
    WeightUpdate,
    largest_divisor,
    principal_directions,
    update_weights,
)


class FilterAtomsConfig(LayersConfig):
    """How many atoms, and what a filter is where there is no kernel."""

    atoms: PositiveInt = 9
    """Atoms of each layer; at most the elements of its filters."""
    block: PositiveInt = 4
    """Channels along each side of the filters of layers without a spatial kernel."""


class AtomUpdate(WeightUpdate):
    """W ↦ W + α ΔD, with α = W Dᵀ for the layer's frozen atoms D."""

    def __init__(self, layer: nn.Module, atoms: int, block: int) -> None:
        super().__init__(layer)
        block = 1 if prod(self.geometry.kernel) > 1 else block
        self.rows = largest_divisor(self.geometry.outputs, block)
        """Output channels of a filter."""
        self.columns = largest_divisor(self.geometry.inputs, block)
        """Input channels of a filter."""
        matrix = self.geometry.matrix(layer.get_parameter("weight").detach())
        filters = self._filters(matrix).flatten(2).flatten(0, 1)
        atoms = min(atoms, filters.shape[1])
        self.register_buffer("D", principal_directions(filters, atoms).T.contiguous())
        self.change_of_D = nn.Parameter(matrix.new_zeros(atoms, filters.shape[1]))

    def _filters(self, matrix: Tensor) -> Tensor:
        """(out, in · kernel) → (out blocks, in blocks, rows, columns · kernel)."""
        width = self.columns * prod(self.geometry.kernel)
        blocks: Tensor = matrix.unflatten(1, (-1, width)).unflatten(0, (-1, self.rows))
        return blocks.transpose(1, 2)

    def change(self, matrix: Tensor) -> Tensor:
        filters = self._filters(matrix)
        coefficients = filters.flatten(2) @ self.get_buffer("D").T
        change = (coefficients @ self.change_of_D).view(filters.shape)
        return change.transpose(1, 2).flatten(0, 1).flatten(1)


def adapt(model: nn.Module, config: FilterAtomsConfig) -> Adapted:
    """Train the filter atoms of every chosen layer."""
    chosen = weights(model, config.layers)
    return update_weights(
        model,
        chosen.values(),
        lambda layer: AtomUpdate(layer, config.atoms, config.block),
        "filter_atoms",
    )


method = Method(
    name="filter_atoms",
    summary="The few spatial patterns that the filters of each layer are made of.",
    source="Chen, Miao & Qiu 2024, Filter Subspace, arXiv:2403.00269",
    traits=Traits(category="additive", batchnorm="frozen", mergeable=True),
    config=FilterAtomsConfig,
    grid={"atoms": (3, 6, 9, 16)},
    adapt=adapt,
    version=2,
)
