"""Reparametrised weights: a frozen weight plus a trained change, on one matrix view of all layers.

A linear layer, a convolution and a transposed convolution are one thing here: a matrix with a row
for each output channel and a column for each input channel and kernel element, in this order. A
method says how the matrix changes; this module finds the layers, puts the change on their weights,
and merges it. Nothing is computed beside the layer, so no activation is kept but the layer's own.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from bench.contract import Adapted, Config, ConfigError, ParameterGroup
from methods._low_rank import full_precision
from methods._surgery import (
    CONVOLUTIONS,
    LayerNames,
    Weight,
    parameters_of,
    reparametrize,
    select,
)


class LayersConfig(Config):
    """Which layers to adapt."""

    layers: LayerNames = ()
    """Layers to adapt, as names or patterns: ``convblock8,deconv*``. None: all of them. Queries,
    keys and values that are one fused projection have names of their own: ``*.q,*.v``."""


@dataclass(frozen=True)
class Geometry:
    """How a layer lays out its weight.

    The groups of a grouped convolution share what is learnt along the input channels, those of a
    transposed one along the output channels: `inputs` and `outputs` are what the weight holds.
    """

    outputs: int
    inputs: int
    kernel: tuple[int, ...]
    """Empty for a linear layer."""
    transposed: bool
    """The weight is (inputs, outputs, *kernel) instead of (outputs, inputs, *kernel)."""

    @classmethod
    def of(cls, layer: nn.Module) -> "Geometry":
        """The geometry of a linear layer or a (transposed) convolution."""
        first, second, *kernel = layer.get_parameter("weight").shape
        if isinstance(layer, nn.ConvTranspose2d):
            return cls(second, first, tuple(kernel), True)
        return cls(first, second, tuple(kernel), False)

    @property
    def columns(self) -> int:
        """Inputs times kernel elements."""
        return self.inputs * prod(self.kernel)

    def matrix(self, weight: Tensor) -> Tensor:
        """The weight as a matrix (outputs, inputs · kernel)."""
        return (weight.transpose(0, 1) if self.transposed else weight).flatten(1)

    def weight(self, matrix: Tensor) -> Tensor:
        """A matrix (outputs, inputs · kernel) in the layout of the weight."""
        weight = matrix.reshape(self.outputs, self.inputs, *self.kernel)
        return weight.transpose(0, 1) if self.transposed else weight


class WeightUpdate(nn.Module):
    """W ↦ W + change of W, for the weight of one layer, in the precision of the weight.

    Subclasses hold the trained parameters and define `change`. What is random or derived from the
    frozen weight, and is not trained, is a buffer.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.geometry = Geometry.of(layer)

    def change(self, matrix: Tensor) -> Tensor:
        """The change of the weight's matrix (outputs, inputs · kernel), of the same shape."""
        raise NotImplementedError

    def forward(self, weight: Tensor) -> Tensor:
        with full_precision(weight):
            change = self.change(self.geometry.matrix(weight))
            return weight + self.geometry.weight(change)


def update_weights(
    model: nn.Module,
    chosen: Iterable[nn.Module | Weight],
    make: Callable[[nn.Module], nn.Module],
    name: str,
) -> Adapted:
    """Put `make(layer)` on every weight and train its parameters as one group.

    See `reparametrize`.
    """
    updates, fold = reparametrize(chosen, make)
    group = ParameterGroup(name=name, parameters=parameters_of(updates))
    return Adapted(model=model, groups=(group,), merge=lambda: fold(model))


def spatial_convolutions(
    model: nn.Module, names: Iterable[str], others: Iterable[type[nn.Module]] = ()
) -> dict[str, nn.Module]:
    """(Transposed) convolutions with a kernel of more than one element, and layers of other kinds.

    Limited to `names` if any. Raises `ConfigError` when there is none.
    """
    layers = {
        name: layer
        for name, layer in select(model, (*CONVOLUTIONS, *others), names).items()
        if not isinstance(layer, CONVOLUTIONS) or prod(layer.kernel_size) > 1
    }
    if not layers:
        raise ConfigError(
            "None of the chosen layers is a convolution with a kernel larger than 1 × 1; choose "
            "other layers or a convolutional backbone such as inversionnet."
        )
    return layers


def largest_divisor(number: int, limit: int) -> int:
    """The largest divisor of a number that does not exceed a limit."""
    return next(d for d in range(min(number, limit), 0, -1) if number % d == 0)


def principal_directions(matrix: Tensor, count: int) -> Tensor:
    """The first right singular vectors of a matrix (m, n) as columns (n, count), largest first.

    Computed in float64 from the n × n matrix of products. The largest element of each vector is
    positive, so the directions are the same wherever they are computed again.
    """
    rows = matrix.detach().double()
    _, vectors = torch.linalg.eigh(rows.T @ rows)  # ascending
    vectors = vectors.flip(1)[:, :count]
    largest = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True))
    directions: Tensor = vectors * largest.sign()
    return directions.to(matrix.dtype)
