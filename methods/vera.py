"""VeRA: two trained vectors a layer between random matrices that all layers share.

Kopiczko et al. 2023, VeRA: Vector-based Random Matrix Adaptation, arXiv:2310.11454, equation 2:
W + diag(b) B diag(d) A. A (rank, in) and B (out, rank) are random, frozen and shared; d (rank)
starts at 0.1 and b (out) at zero. Rank 256 and the Kaiming uniform A and B are the authors'.
rank + out parameters a layer: 25 · 256 + 4,321 = 10,721 on InversionNet.

Layers differ in size, so A and B are as large as the largest layer needs, and each layer uses
their first rows and columns. On (transposed) convolutions the columns of A are the input channels
times the kernel. A and B are not part of a delta: the seed of the run draws them again. BatchNorm
is frozen.
"""

from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from bench.contract import Adapted, Method, ParameterGroup, Traits
from methods._projections import weights
from methods._surgery import parameters_of, reparametrize
from methods._weights import Geometry, LayersConfig, WeightUpdate


class VeRAConfig(LayersConfig):
    """The authors' choices."""

    rank: PositiveInt = 256
    start: PositiveFloat = 0.1
    """Where all elements of d start."""


class Projections(nn.Module):
    """The frozen random matrices: A (rank, columns), B (rows, rank)."""

    def __init__(self, like: Tensor, rows: int, columns: int, rank: int) -> None:
        super().__init__()
        self.register_buffer("A", nn.init.kaiming_uniform_(like.new_empty(rank, columns)))
        self.register_buffer("B", nn.init.kaiming_uniform_(like.new_empty(rows, rank)))


class VectorUpdate(WeightUpdate):
    """W ↦ W + diag(b) B diag(d) A."""

    def __init__(self, layer: nn.Module, projections: Projections, start: float) -> None:
        super().__init__(layer)
        self._shared = (projections,)  # in a tuple: saved once, with the first layer
        a = projections.get_buffer("A")
        self.d = nn.Parameter(a.new_full((len(a),), start))
        self.b = nn.Parameter(a.new_zeros(self.geometry.outputs))

    def change(self, matrix: Tensor) -> Tensor:
        rows, columns = matrix.shape
        (projections,) = self._shared
        a, b = projections.get_buffer("A")[:, :columns], projections.get_buffer("B")[:rows]
        return (self.b[:, None] * b) @ (self.d[:, None] * a)


def adapt(model: nn.Module, config: VeRAConfig) -> Adapted:
    """Put two vectors on the weight of every chosen layer."""
    chosen = tuple(weights(model, config.layers).values())
    layers = [weight.stand_in() for weight in chosen]
    sizes = [Geometry.of(layer) for layer in layers]
    projections = Projections(
        layers[0].get_parameter("weight").detach(),
        max(size.outputs for size in sizes),
        max(size.columns for size in sizes),
        config.rank,
    )
    updates, fold = reparametrize(
        chosen, lambda layer: VectorUpdate(layer, projections, config.start)
    )
    updates[0].add_module("projections", projections)
    group = ParameterGroup(name="vera", parameters=parameters_of(updates))
    return Adapted(model=model, groups=(group,), merge=lambda: fold(model))


method = Method(
    name="vera",
    summary="Two trained vectors a layer between random matrices that all layers share.",
    source="Kopiczko et al. 2023, VeRA, arXiv:2310.11454",
    traits=Traits(category="additive", batchnorm="frozen", mergeable=True),
    config=VeRAConfig,
    grid={"rank": (64, 128, 256, 512)},
    adapt=adapt,
    version=2,
)
