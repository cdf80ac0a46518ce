"""Linear layers as plain functions, with the interface of `Convolution`."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Linear:
    """y = x Wᵀ + b over the last axis."""

    inputs: int

    def admits(self, shape: torch.Size) -> bool:
        """Whether an input is a batch of as many features as the layer takes."""
        return len(shape) >= 2 and shape[-1] == self.inputs

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """x (..., in), weight (out, in), bias (out,) → (..., out)."""
        y = F.linear(x, weight, bias)
        # For some inputs y is a view, which a layer behind it could not overwrite
        out: Tensor = torch.ops.aten._unsafe_view(y, y.shape)
        return out

    def products_per_output(self, weight: Tensor) -> int:
        """Multiplications for one element of the output."""
        return weight.shape[1]

    def gradients(
        self,
        g: Tensor,
        x: Tensor | None,
        shape: torch.Size,
        weight: Tensor,
        *,
        of_input: bool,
        of_weight: bool,
        of_bias: bool,
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Gradients of the input, of this shape, of weight and bias, as far as asked for.

        Only the weight's needs the input x itself.
        """
        rows = g.reshape(-1, g.shape[-1])
        g_input = g_weight = g_bias = None
        if of_input:
            g_input = (rows @ weight).view(shape)
        if of_weight:
            assert x is not None
            g_weight = rows.t() @ x.reshape(-1, x.shape[-1])
        if of_bias:
            g_bias = rows.sum(0, dtype=torch.float32 if g.dtype.itemsize < 4 else g.dtype)
        return g_input, g_weight, g_bias


def recognise(module: nn.Module) -> Linear | None:
    """The function of a stock linear layer; None for anything else."""
    if isinstance(module, nn.Linear) and type(module).forward is nn.Linear.forward:
        return Linear(module.in_features)
    return None
