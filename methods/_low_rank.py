"""A low-rank update of one layer's weight, for the methods of the LoRA family."""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from bench.contract import Config, ConfigError
from methods._surgery import LayerNames, Weight

_SIZES = (4, 8, 16, 32, 64, 128)
GRID = {"rank": _SIZES, "alpha": tuple(map(float, _SIZES))}
"""The range that Ghosal et al. (2024) search for their Table II."""


class LowRankConfig(Config):
    """Defaults are the paper's choice (Ghosal et al. 2024, Table II): rank 16, alpha 16."""

    rank: PositiveInt = 16
    alpha: PositiveFloat = 16.0
    layers: LayerNames = ()
    """Layers to adapt, as names or patterns: ``convblock8,deconv*``. None: all of them. Queries,
    keys and values that are one fused projection have names of their own: ``*.q,*.v``."""
    rank_stabilised: bool = False
    """Scale alpha / √rank (Kalajdzievski 2023, arXiv:2312.03732) instead of alpha / rank."""

    @property
    def scale(self) -> float:
        return self.alpha / (math.sqrt(self.rank) if self.rank_stabilised else self.rank)


class LowRankUpdate(nn.Module):
    """W ↦ W + scale · BA for the weight of a linear layer or a (transposed) convolution.

    A is a layer in → rank with the layer's own kernel, B a 1 × 1 layer rank → out, neither with a
    bias; composed they are one kernel of the layer's shape. B starts at zero and A as a layer of
    its kind does (Kaiming uniform, a = √5), so the update starts at zero. The groups of a grouped
    convolution share A, those of a transposed one B.

    Shapes: Linear and Conv2d weight (out, in, …), A (rank, in, …), B (out, rank); ConvTranspose2d
    weight (in, out, …), A (in, rank, …), B (out, rank). The product is taken in the precision of
    the weight, whatever autocast is on around it.
    """

    def __init__(self, layer: nn.Module, rank: int, scale: float) -> None:
        super().__init__()
        weight = layer.get_parameter("weight")
        self.scale = scale
        self.transposed = isinstance(layer, nn.ConvTranspose2d)
        first, second, *kernel = weight.shape
        if self.transposed:
            shape, outputs = (first, rank, *kernel), second
        else:
            shape, outputs = (rank, second, *kernel), first
        self.A = nn.Parameter(weight.new_empty(shape))
        self.B = nn.Parameter(weight.new_zeros(outputs, rank))
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        with full_precision(weight):
            if self.transposed:
                update = torch.einsum("ir...,or->io...", self.A, self.B)
            else:
                update = (self.B @ self.A.flatten(1)).view_as(weight)
            return weight + self.scale * update


def full_precision(weight: Tensor) -> AbstractContextManager[object]:
    """No autocast, on devices that have it (the meta device has not)."""
    kind = weight.device.type
    if torch.amp.is_autocast_available(kind):
        return torch.autocast(kind, enabled=False)
    return nullcontext()


def check_rank(rank: int, weights: Mapping[str, Weight]) -> None:
    """Raise `ConfigError` for a rank beyond what the largest of the weights allows.

    A weight allows min(out, in · kernel), its rank as a matrix. Smaller layers among
    larger ones take the common rank all the same, as the paper's count of 1.1 M has it for the
    network's last layer with its single output.
    """
    allowed = {name: _full_rank(weight.stand_in()) for name, weight in weights.items()}
    name = max(allowed, key=lambda key: allowed[key])
    if rank > allowed[name]:
        raise ConfigError(
            f"Rank {rank} is larger than the layers allow: at most {allowed[name]} (in '{name}'); "
            "choose a smaller rank."
        )


def _full_rank(layer: nn.Module) -> int:
    weight = layer.get_parameter("weight")
    outputs = weight.shape[1 if isinstance(layer, nn.ConvTranspose2d) else 0]
    return min(outputs, weight.numel() // outputs)
