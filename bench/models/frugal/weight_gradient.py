"""The weight gradient of convolutions along the time axis, as matrix products.

With kernels (k, 1), as the first layers of InversionNet have them, a tap of the kernel multiplies
whole rows of a channels-last record, one after the other in memory: its gradient is one product of
two matrices for each sample. oneDNN computes such gradients in single precision at a fifth of the
speed of a matrix product on processors without AVX-512 (`docs/LOG.md`).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

_LEAST_CHANNELS = 16
"""Fewer make a product too narrow: five channels run at a tenth of oneDNN's speed."""


def applies(
    g: Tensor,
    x: Tensor,
    weight: Tensor,
    *,
    stride: Sequence[int],
    padding: Sequence[int],
    groups: int,
) -> bool:
    """Whether `along_time` computes the gradient of a plain convolution's weight, and is faster."""
    return (
        g.device.type == "cpu"
        and g.dtype == x.dtype == torch.float32
        and g.dim() == 4
        and weight.shape[3] == 1
        and (stride[1], padding[1], groups) == (1, 0, 1)
        and min(weight.shape[:2]) >= _LEAST_CHANNELS
        and all(t.is_contiguous(memory_format=torch.channels_last) for t in (g, x))
    )


def along_time(
    g: Tensor, x: Tensor, taps: int, *, stride: int, padding: int, dilation: int
) -> Tensor:
    """Gradient (out, in, taps, 1) from g (n, out, rows, width) and x (n, in, time, width).

    Output row r meets tap t at time r·stride + t·dilation - padding; where that is outside the
    record there are zeros, which the product leaves out.
    """
    rows_of_g, times = g.permute(0, 2, 3, 1), x.permute(0, 2, 3, 1)
    gradient = g.new_zeros(taps, g.shape[1], x.shape[1])
    phases: dict[int, Tensor] = {}
    for tap in range(taps):
        ahead, phase = divmod(tap * dilation - padding, stride)
        if phase not in phases:  # every stride-th row, without gaps
            phases[phase] = times[:, phase::stride].contiguous()
        met = phases[phase]
        first = max(0, -ahead)
        end = min(rows_of_g.shape[1], met.shape[1] - ahead)
        if first < end:
            left = rows_of_g[:, first:end].flatten(1, 2).transpose(1, 2)
            right = met[:, first + ahead : end + ahead].flatten(1, 2)
            torch.sum(torch.bmm(left, right), 0, out=gradient[tap])
    return gradient.permute(1, 2, 0).unsqueeze(3)
