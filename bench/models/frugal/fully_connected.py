"""Gradients of convolutions whose kernel covers the whole input, and of transposed ones from a
single point: fully connected layers, as matrix products.

InversionNet has one of each at its narrowest place, with two thirds of its parameters. oneDNN runs
them in single precision at a tenth of the speed at which a product reads the weights
(`docs/LOG.md`). The forward pass is left to it, so that outputs are those of stock torch in every
bit.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def applies(
    shape: Sequence[int],
    weight: Tensor,
    *,
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> bool:
    """Whether a convolution is such a layer for an input (n, in, *space) of this shape."""
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and weight.dim() == 4
        and groups == 1
        and not any((*padding, *output_padding))
        and all(d == 1 for d in dilation)
        and tuple(shape[2:]) == ((1, 1) if transposed else tuple(weight.shape[2:]))
    )


def input_gradient(g: Tensor, weight: Tensor, *, transposed: bool) -> Tensor:
    """The gradient of x from g, that of the output."""
    last = _channels_last(weight)
    rows, matrix = _rows(g, last), _rows(weight, last)
    if transposed:
        return _maps(rows @ matrix.t(), (len(weight), 1, 1), last)
    return _maps(rows @ matrix, weight.shape[1:], last)


def weight_gradient(g: Tensor, x: Tensor, weight: Tensor, *, transposed: bool) -> Tensor:
    """The gradient of the weight, laid out as it is."""
    last = _channels_last(weight)
    into, outof = (x, g) if transposed else (g, x)
    return _maps(_rows(into, last).t() @ _rows(outof, last), weight.shape[1:], last)


def _channels_last(weight: Tensor) -> bool:
    return weight.is_contiguous(memory_format=torch.channels_last)


def _rows(t: Tensor, last: bool) -> Tensor:
    """(k, channels, h, w) → (k, values), in the order in which a weight has them in memory."""
    return (t.permute(0, 2, 3, 1) if last else t).flatten(1)


def _maps(rows: Tensor, shape: Sequence[int], last: bool) -> Tensor:
    """The inverse of `_rows`, for maps of this shape (channels, h, w)."""
    channels, *space = shape
    if last:
        return rows.view(len(rows), *space, channels).permute(0, 3, 1, 2)
    return rows.view(len(rows), channels, *space)
