"""DoRA: the weight split into magnitude and direction, the direction tuned by LoRA.

Liu et al. 2024, DoRA: Weight-Decomposed Low-Rank Adaptation, arXiv:2402.09353: for each output
channel W' = m · (W + s·BA) / ‖W + s·BA‖, with the magnitude m trained and started at ‖W‖. As the
authors advise (section 4.3), the norm counts as a constant in the gradient. The groups of a grouped
transposed convolution share their magnitudes, as they share B. Rank and alpha as in
`lora` (Ghosal et al. 2024); BatchNorm is frozen for the same reason as there.
"""

import torch
from torch import Tensor, nn

from bench.contract import Adapted, Method, ParameterGroup, Traits
from methods._low_rank import GRID, LowRankConfig, LowRankUpdate, check_rank, full_precision
from methods._projections import weights
from methods._surgery import parameters_of, reparametrize


class Decomposed(nn.Module):
    """W ↦ magnitude · V / ‖V‖ for each output channel, with V = W + scale · BA."""

    def __init__(self, layer: nn.Module, rank: int, scale: float) -> None:
        super().__init__()
        self.update = LowRankUpdate(layer, rank, scale)
        self.outputs = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
        self.magnitude = nn.Parameter(self._norm(layer.get_parameter("weight").detach()).clone())

    def _norm(self, weight: Tensor) -> Tensor:
        others = [axis for axis in range(weight.ndim) if axis != self.outputs]
        norm: Tensor = torch.linalg.vector_norm(weight, dim=others, keepdim=True)
        return norm.clamp_min(torch.finfo(weight.dtype).tiny)

    def forward(self, weight: Tensor) -> Tensor:
        with full_precision(weight):
            direction: Tensor = self.update(weight)
            return direction * (self.magnitude / self._norm(direction.detach()))


def adapt(model: nn.Module, config: LowRankConfig) -> Adapted:
    """Put a magnitude and a low-rank direction on the weight of every chosen layer."""
    chosen = weights(model, config.layers)
    check_rank(config.rank, chosen)
    updates, fold = reparametrize(
        chosen.values(), lambda layer: Decomposed(layer, config.rank, config.scale)
    )
    group = ParameterGroup(name="dora", parameters=parameters_of(updates))
    return Adapted(model=model, groups=(group,), merge=lambda: fold(model))


method = Method(
    name="dora",
    summary="Magnitude and low-rank direction of every weight, in weight space.",
    source="Liu et al. 2024, DoRA, arXiv:2402.09353; rank and alpha of Ghosal et al. 2024",
    traits=Traits(category="additive", batchnorm="frozen", mergeable=True),
    config=LowRankConfig,
    grid=GRID,
    adapt=adapt,
)
