"""PiSSA: LoRA factors that start at the weight's own principal components.

Meng et al. 2024, PiSSA: Principal Singular Values and Singular Vectors Adaptation,
arXiv:2404.02948, equations 2 to 4: with the singular value decomposition W = U S Vᵀ, the factors
start at B = U √S and A = √S Vᵀ of the largest `rank` singular values, and what is left of W is
frozen. The scale is 1 (the authors set alpha = rank). Written as W + (BA − B₀A₀) with the starting
product B₀A₀ frozen, the start is the foundation bit for bit.

On (transposed) convolutions W is the matrix (out, in · kernel), the split of `lora`. A layer takes
at most its full rank, since a factor of a zero singular value would never move:
min(rank, out, in · kernel) · (in · kernel + out) parameters a layer; 1,144,145 on InversionNet,
whose last layer has rank 1. BatchNorm is frozen.
"""

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from bench.contract import Adapted, Method, Traits
from methods._low_rank import GRID, check_rank
from methods._projections import weights
from methods._weights import LayersConfig, WeightUpdate, principal_directions, update_weights


class PiSSAConfig(LayersConfig):
    """The rank of `lora`."""

    rank: PositiveInt = 16


def principal_factors(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """B (m, rank) and A (rank, n), whose product is the best approximation of a matrix (m, n)."""
    wide = matrix if len(matrix) <= matrix.shape[1] else matrix.T
    left = principal_directions(wide.T, rank)
    right = left.T @ wide  # S Vᵀ
    values = torch.linalg.vector_norm(right, dim=1).clamp_min(torch.finfo(right.dtype).tiny)
    roots = values.sqrt()
    b, a = left * roots, right / roots[:, None]
    return (b, a) if wide is matrix else (a.T.contiguous(), b.T.contiguous())


class PrincipalUpdate(WeightUpdate):
    """W ↦ W + BA − B₀A₀."""

    def __init__(self, layer: nn.Module, rank: int) -> None:
        super().__init__(layer)
        matrix = self.geometry.matrix(layer.get_parameter("weight").detach())
        b, a = principal_factors(matrix, min(rank, *matrix.shape))
        self.A, self.B = nn.Parameter(a), nn.Parameter(b)
        self.register_buffer("A_start", a.clone())
        self.register_buffer("B_start", b.clone())

    def change(self, matrix: Tensor) -> Tensor:
        return self.B @ self.A - self.get_buffer("B_start") @ self.get_buffer("A_start")


def adapt(model: nn.Module, config: PiSSAConfig) -> Adapted:
    """Put trained principal components on the weight of every chosen layer."""
    chosen = weights(model, config.layers)
    check_rank(config.rank, chosen)
    return update_weights(
        model, chosen.values(), lambda layer: PrincipalUpdate(layer, config.rank), "pissa"
    )


method = Method(
    name="pissa",
    summary="Low-rank factors started at each weight's principal components; the rest is frozen.",
    source="Meng et al. 2024, PiSSA, arXiv:2404.02948",
    traits=Traits(category="additive", batchnorm="frozen", mergeable=True),
    config=PiSSAConfig,
    grid={"rank": GRID["rank"]},
    adapt=adapt,
    version=2,
)
