"""The modules that frugal blocks support, and how they are grouped into blocks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as nn_module
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from bench.models.frugal import activation, batchnorm, convolution, linear
from bench.models.frugal.activation import Activation
from bench.models.frugal.convolution import Convolution
from bench.models.frugal.linear import Linear

_BATCHNORM_AXES = {nn.BatchNorm1d: (2, 3), nn.BatchNorm2d: (4,), nn.BatchNorm3d: (5,)}


@dataclass(frozen=True)
class Layer:
    """A module that the frugal blocks understand: exactly one of the three parts is set."""

    module: nn.Module
    convolution: Convolution | Linear | None = None
    batchnorm: _BatchNorm | None = None
    activation: Activation | None = None

    @property
    def rank(self) -> int:
        """The layer's place in a block."""
        if self.convolution is not None:
            return 0
        return 1 if self.batchnorm is not None else 2

    @property
    def works_in_place(self) -> bool:
        """Whether the module promises to overwrite its input."""
        inplace = isinstance(self.module, nn.ReLU | nn.LeakyReLU) and self.module.inplace
        return bool(inplace)

    def admits(self, x: Any) -> bool:
        """Whether x is an input with which the frugal block does what the module does."""
        if not is_plain(x):
            return False
        if self.convolution is not None:
            if x.dtype == torch.float64 and torch.is_autocast_enabled(x.device.type):
                return False
            return self.convolution.admits(x.shape)
        if self.batchnorm is not None:
            fits = x.dim() in _axes(self.batchnorm)
            return fits and bool(x.shape[1] == self.batchnorm.num_features)
        return True


def is_plain(x: Any) -> bool:
    """Whether x is an ordinary tensor of floating-point numbers in eager mode, and not empty."""
    if type(x) not in (Tensor, nn.Parameter) or torch.compiler.is_compiling():
        return False
    if not x.is_floating_point() or x.layout != torch.strided or x.numel() == 0:
        return False
    return x.device.type in ("cpu", "cuda")


def recognise(module: nn.Module) -> Layer | None:
    """The layer that a module is; None if it has to run as it is."""
    if "forward" in vars(module):
        return None
    if (conv := convolution.recognise(module)) is not None:
        return Layer(module, convolution=conv)
    if (line := linear.recognise(module)) is not None:
        return Layer(module, convolution=line)
    if (norm := batchnorm.recognise(module)) is not None and _axes(norm):
        return Layer(module, batchnorm=norm)
    if (act := activation.recognise(module)) is not None:
        return Layer(module, activation=act)
    return None


def weight_and_bias(module: nn.Module) -> tuple[Tensor | None, Tensor | None]:
    """Current weight and bias of a weighted or normalising layer, parametrizations applied."""
    weight, bias = module.weight, module.bias
    assert weight is None or isinstance(weight, Tensor)
    assert bias is None or isinstance(bias, Tensor)
    return weight, bias


def is_plain_sequence(module: nn.Module) -> bool:
    """Whether a module does nothing but call its children one after the other."""
    return (
        isinstance(module, nn.Sequential)
        and type(module).forward is nn.Sequential.forward
        and "forward" not in vars(module)
    )


def leading_block(modules: Sequence[nn.Module], known: dict[nn.Module, Layer]) -> list[Layer]:
    """The first modules, as far as they are a convolution, a BatchNorm and an activation, or a
    linear layer and an activation.

    Any of the three may be missing. A module with hooks is left to itself.
    """
    block: list[Layer] = []
    for module in modules[:3]:
        layer = known.get(module)
        if layer is None or has_hooks(module):
            break
        if block and not _fit(block[-1], layer):
            break
        block.append(layer)
    return block


def _fit(first: Layer, second: Layer) -> bool:
    if first.convolution is not None and second.batchnorm is not None:
        if isinstance(first.convolution, Linear):
            return False
        assert isinstance(first.module, _ConvNd)
        same_axes = first.convolution.dimensions + 2 in _axes(second.batchnorm)
        return same_axes and first.module.out_channels == second.batchnorm.num_features
    return first.rank < second.rank


def _axes(norm: _BatchNorm) -> tuple[int, ...]:
    """The numbers of axes that a BatchNorm takes."""
    return next((axes for kind, axes in _BATCHNORM_AXES.items() if isinstance(norm, kind)), ())


def has_hooks(module: nn.Module) -> bool:
    """Whether anything wants to see the calls of a module."""
    return any(
        (
            module._forward_hooks,
            module._forward_pre_hooks,
            module._backward_hooks,
            module._backward_pre_hooks,
            nn_module._global_forward_hooks,
            nn_module._global_forward_pre_hooks,
            nn_module._global_backward_hooks,
            nn_module._global_backward_pre_hooks,
        )
    )
