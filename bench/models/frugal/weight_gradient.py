"""The weight gradient of a convolution as matrix products, one for each tap of its kernel.

oneDNN computes it in single precision from channels-last tensors at 15 to 50 % of the speed of a
matrix product on processors without AVX-512 (`docs/LOG.md`).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_LEAST_CHANNELS = 32
"""Fewer make a product too narrow: sixteen gain nothing, five run at a tenth of oneDNN's speed."""


def applies(g: Tensor, x: Tensor, weight: Tensor, *, groups: int) -> bool:
    """Whether `by_taps` computes the gradient of a plain convolution's weight, and is faster."""
    return (
        g.device.type == "cpu"
        and g.dtype == x.dtype == torch.float32
        and g.dim() == 4
        and groups == 1
        and min(weight.shape[:2]) >= _LEAST_CHANNELS
        and weight.shape[2:].numel() > 1  # oneDNN is as fast where a pixel meets itself alone
        and all(t.is_contiguous(memory_format=torch.channels_last) for t in (g, x))
    )


def by_taps(
    g: Tensor,
    x: Tensor,
    kernel: Sequence[int],
    *,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    """Gradient (out, in, *kernel) from g (n, out, rows, columns) and x (n, in, height, width).

    Point (r, c) of the output meets tap (a, b) at (r·s + a·d - p, c·s + b·d - p) of the input, so
    one point after the other does, in every s-th row and column of it, at a distance in memory
    that depends on the tap alone: of two matrices (points, channels) the product is the tap's
    gradient. Zeros at the end of g's rows keep points beyond the border out of it; rows beyond
    the border are left out.
    """
    heights, widths = (
        [divmod(tap * d - p, s) for tap in range(taps)]
        for taps, s, p, d in zip(kernel, stride, padding, dilation, strict=True)
    )
    left = min(ahead for ahead, _ in widths)
    spare = max(ahead for ahead, _ in widths) - left
    rows, columns = g.shape[2], g.shape[3] + spare
    points = _rows(g.permute(0, 2, 3, 1), 0, spare)
    gradient = g.new_zeros(*kernel, g.shape[1], x.shape[1])
    planes: dict[tuple[int, int], Tensor] = {}
    for a, (down, phase) in enumerate(heights):
        for b, (right, other_phase) in enumerate(widths):
            plane = planes.get((phase, other_phase))
            if plane is None:
                thinned = x.permute(0, 2, 3, 1)[:, phase :: stride[0], other_phase :: stride[1]]
                plane = _rows(thinned, -left, columns + left - thinned.shape[2])
                planes[phase, other_phase] = plane
            first, end = max(0, -down), min(rows, plane.shape[1] // columns - down)
            if first < end:
                count = (end - first) * columns - spare
                start = (first + down) * columns + right - left
                of_output = points[:, first * columns :][:, :count]
                of_input = plane[:, start : start + count]
                torch.sum(of_output.transpose(1, 2) @ of_input, 0, out=gradient[a, b])
    return gradient.permute(2, 3, 0, 1)


def _rows(t: Tensor, before: int, after: int) -> Tensor:
    """(n, rows, columns, channels) → (n, points, channels), with so many more zeros in each row, or
    fewer points where negative."""
    if before or after:
        t = nn.functional.pad(t, (0, 0, before, after))
    return t.flatten(1, 2)
