"""The weights that layers run with: cast, and multiplied by the scale of a BatchNorm."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.models.frugal.batchnorm import Normalisation
from bench.models.frugal.convolution import Convolution
from bench.models.frugal.linear import Linear


@dataclass(frozen=True)
class _Kernel:
    made_of: tuple[Tensor, ...]
    versions: tuple[int, ...]
    value: Tensor


class Kernels:
    """Makes kernels, those of frozen layers only once."""

    def __init__(self) -> None:
        self._lasting: dict[tuple[nn.Module, torch.dtype], _Kernel] = {}

    def get(
        self,
        module: nn.Module,
        convolution: Convolution | Linear,
        weight: Tensor,
        folded: Normalisation | None,
        gamma: Tensor | None,
        dtype: torch.dtype,
    ) -> Tensor:
        """The weight of `module` in `dtype`, times the scale of the BatchNorm to fold, if any."""
        if folded is None and dtype == weight.dtype:
            return weight.detach()
        made_of = [weight]
        lasting = is_constant(weight) and not torch.is_inference_mode_enabled()
        if folded is not None:
            # Batch normalisation updates running statistics unseen by autograd's version
            # counters, but never without counting the batch.
            others = (gamma, folded.running_var, folded.batches)
            made_of += [t for t in others if t is not None]
            lasting = lasting and folded.batches is not None
            lasting = lasting and (gamma is None or is_constant(gamma))
        if not lasting:
            return _make(convolution, weight, folded, gamma, dtype)
        versions = tuple(t._version for t in made_of)
        known = self._lasting.get((module, dtype))
        if known is None or known.versions != versions or not _same(known.made_of, made_of):
            value = _make(convolution, weight, folded, gamma, dtype)
            known = _Kernel(tuple(made_of), versions, value)
            self._lasting[module, dtype] = known
        return known.value


def is_constant(tensor: Tensor) -> bool:
    """Whether it is a frozen parameter, not something computed anew at every call."""
    return isinstance(tensor, nn.Parameter) and not tensor.requires_grad


def _same(some: tuple[Tensor, ...], others: list[Tensor]) -> bool:
    return len(some) == len(others) and all(a is b for a, b in zip(some, others, strict=True))


@torch.no_grad()
def _make(
    convolution: Convolution | Linear,
    weight: Tensor,
    folded: Normalisation | None,
    gamma: Tensor | None,
    dtype: torch.dtype,
) -> Tensor:
    if folded is not None:
        assert folded.running_var is not None and isinstance(convolution, Convolution)
        weight = convolution.scaled(weight, folded.scale(gamma, folded.running_var))
    return weight.to(dtype)
