"""Batch normalisation as pure functions, explicit about what the backward pass needs."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

_aten = torch.ops.aten


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """One call of a BatchNorm layer.

    `first` and `second` are (channels,): mean and 1/σ of the batch where `of_batch`, otherwise
    running mean and running variance.
    """

    of_batch: bool
    eps: float
    running_mean: Tensor | None
    running_var: Tensor | None
    batches: Tensor | None
    """Counts the batches that went into the running statistics."""
    momentum: float

    def forward(
        self, z: Tensor, weight: Tensor | None, bias: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """z (n, channels, *space) → normalised z, first, second; updates running statistics.

        Raises `ValueError` for batch statistics over a single value per channel, as torch does.
        """
        if not self.of_batch:
            assert self.running_mean is not None and self.running_var is not None
            out = self.again(z, weight, bias, self.running_mean, self.running_var)
            return out, self.running_mean, self.running_var
        if z.numel() == z.shape[1]:
            raise ValueError(
                f"Expected more than 1 value per channel when training, got input size {z.shape}"
            )
        weight, bias = _affine(z, weight, bias)
        out, mean, inverse_deviation = torch.native_batch_norm(
            z, weight, bias, self.running_mean, self.running_var, True, self.momentum, self.eps
        )
        return out, mean, inverse_deviation

    def again(
        self, z: Tensor, weight: Tensor | None, bias: Tensor | None, first: Tensor, second: Tensor
    ) -> Tensor:
        """The output of `forward` once more, from what it returned."""
        weight, bias = _affine(z, weight, bias)
        variance, eps = (second.pow(-2), 0.0) if self.of_batch else (second, self.eps)
        out, _, _ = torch.native_batch_norm(z, weight, bias, first, variance, False, 0.0, eps)
        return out

    def backward(
        self,
        g: Tensor,
        z: Tensor,
        weight: Tensor | None,
        first: Tensor,
        second: Tensor,
        wanted: tuple[bool, bool, bool],
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Gradients of z, weight and bias, as far as wanted."""
        weight, _ = _affine(z, weight, None)
        nothing = first.new_empty(0)  # CUDA wants a tensor, if an empty one
        of_running = (first, second, nothing, nothing)
        statistics = (None, None, first, second) if self.of_batch else of_running
        gradients: tuple[Tensor | None, Tensor | None, Tensor | None]
        gradients = _aten.native_batch_norm_backward(
            g, z, weight, *statistics, self.of_batch, self.eps, list(wanted)
        )
        return gradients

    def scale(self, weight: Tensor | None, variance: Tensor) -> Tensor:
        """The factor (channels,) of evaluation mode."""
        factor = torch.rsqrt(variance + self.eps)
        return factor if weight is None else factor * weight

    def scaled_gradient(self, g: Tensor, weight: Tensor | None, variance: Tensor) -> Tensor:
        """Gradient of z in evaluation mode, which needs no z: the gradient times the scale."""
        weight, zero = _affine(g, weight, None)
        return self.again(g, weight, zero, torch.zeros_like(variance), variance)


def _affine(z: Tensor, weight: Tensor | None, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Weight and bias, or ones and zeros: without them half-precision statistics come back."""
    dtype = torch.float32 if z.dtype.itemsize < 4 else z.dtype
    given = weight if weight is not None else bias
    new = z.new_ones(z.shape[1], dtype=dtype if given is None else given.dtype)
    return (
        new if weight is None else weight,
        torch.zeros_like(new) if bias is None else bias,
    )


def recognise(module: nn.Module) -> _BatchNorm | None:
    """The module if it is a stock BatchNorm1d, 2d or 3d; None for anything else."""
    if isinstance(module, _BatchNorm) and type(module).forward is _BatchNorm.forward:
        return module
    return None


def count(module: _BatchNorm) -> Normalisation:
    """The `Normalisation` that `module` would do now; counts the batch as the module does."""
    momentum = 0.0 if module.momentum is None else module.momentum
    if module.training and module.track_running_stats and module.num_batches_tracked is not None:
        module.num_batches_tracked.add_(1)
        if module.momentum is None:  # cumulative average
            momentum = 1.0 / float(module.num_batches_tracked)
    of_batch = module.training or (module.running_mean is None and module.running_var is None)
    tracked = not module.training or module.track_running_stats
    return Normalisation(
        of_batch=of_batch,
        eps=module.eps,
        running_mean=module.running_mean if tracked else None,
        running_var=module.running_var if tracked else None,
        batches=module.num_batches_tracked,
        momentum=momentum,
    )
