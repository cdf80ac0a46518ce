"""SSF: a trained scale and shift of every channel, folded into the layer before it.

Lian et al. 2022, Scaling & Shifting Your Features, arXiv:2210.08823: y = scale · x + shift after
every convolution, linear layer, attention projection and normalisation. It starts at scale 1 and
shift 0, the identity; the published N(1, 0.02) start is not. A convolution and the BatchNorm right
behind it in a Sequential share one pair: with BatchNorm in evaluation mode both are channel-wise
affine, and a second pair could express nothing more. The pair is folded while training, too: it
acts on BatchNorm's own scale and shift, or on the layer's weight and bias, and adds no activation.
A layer without a bias gets the scale alone: a shift would leave nothing to fold it into. 8,642
parameters on InversionNet; no other hyper-parameter.

BatchNorm's statistics, scale and shift are frozen; the pair multiplies and adds to them.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

from bench.contract import Adapted, Config, Method, ParameterGroup, Traits
from methods._surgery import CONVOLUTIONS, WEIGHT_LAYERS, parameters_of, select

NORMS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


class Shift(nn.Module):
    """bias ↦ scale · bias + shift. Owns both parameters, (channels,)."""

    def __init__(self, like: Tensor) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones_like(like))
        self.shift = nn.Parameter(torch.zeros_like(like))

    def forward(self, bias: Tensor) -> Tensor:
        return self.scale * bias + self.shift


class Scale(nn.Module):
    """weight ↦ scale · weight along the output channels, with a scale of its own."""

    def __init__(self, weight: Tensor, axis: int, groups: int) -> None:
        super().__init__()
        self.axis, self.groups = axis, groups
        self.scale = nn.Parameter(weight.new_ones(groups * weight.shape[axis]))

    def forward(self, weight: Tensor) -> Tensor:
        return along(weight, self.scale, self.axis, self.groups)


class SharedScale(nn.Module):
    """weight ↦ scale · weight along the output channels, with the scale of a `Shift`."""

    def __init__(self, shift: Shift, axis: int, groups: int) -> None:
        super().__init__()
        self._shift = (shift,)  # in a tuple: its parameters are saved once, with the bias
        self.axis, self.groups = axis, groups

    def forward(self, weight: Tensor) -> Tensor:
        return along(weight, self._shift[0].scale, self.axis, self.groups)


def along(weight: Tensor, scale: Tensor, axis: int, groups: int) -> Tensor:
    """The weight times one factor for each index of the axis in each of the groups, which lie one
    after the other along the first axis (those of a transposed convolution; else there is one)."""
    shape = [1] * weight.ndim
    shape[axis] = -1
    if groups == 1:
        return weight * scale.view(shape)
    scaled: Tensor = weight.unflatten(0, (groups, -1)) * scale.view(groups, *shape)
    return scaled.flatten(0, 1)


def targets(model: nn.Module) -> list[tuple[nn.Module, str, str]]:
    """Layers to fold a pair into, with the names of weight and bias, each once in forward order.

    In place of a convolution with a BatchNorm right behind it stands that BatchNorm. Raises
    `ConfigError` for a network without convolutions and linear layers.
    """
    follower: dict[nn.Module, nn.Module] = {}
    for module in model.modules():
        if isinstance(module, nn.Sequential):
            follower |= dict(pairwise(module))
    layers = set(select(model, WEIGHT_LAYERS).values())
    chosen: dict[nn.Module, tuple[str, str]] = {}
    for module in model.modules():
        if isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None:
            chosen[module] = ("in_proj_weight", "in_proj_bias")
        elif isinstance(module, NORMS) and module._parameters.get("weight") is not None:
            chosen[module] = ("weight", "bias")
        elif module in layers:
            behind = follower.get(module)
            fits = isinstance(module, CONVOLUTIONS) and isinstance(behind, _BatchNorm)
            if not (fits and behind is not None and behind._parameters["weight"] is not None):
                chosen[module] = ("weight", "bias")
    return [(layer, weight, bias) for layer, (weight, bias) in chosen.items()]


def adapt(model: nn.Module, config: Config) -> Adapted:
    """Fold a scale and a shift into every layer."""
    folded: list[tuple[nn.Module, str]] = []
    made: list[nn.Module] = []
    for layer, weight, bias in targets(model):
        axis, groups = (1, layer.groups) if isinstance(layer, nn.ConvTranspose2d) else (0, 1)
        if layer._parameters.get(bias) is None:
            scale = Scale(layer.get_parameter(weight).detach(), axis, groups)
            parametrize.register_parametrization(layer, weight, scale)
            made.append(scale)
        else:
            shift = Shift(layer.get_parameter(bias).detach())
            parametrize.register_parametrization(layer, bias, shift)
            parametrize.register_parametrization(layer, weight, SharedScale(shift, axis, groups))
            made.append(shift)
            folded.append((layer, bias))
        folded.append((layer, weight))

    def merge() -> nn.Module:
        for layer, tensor in folded:
            parametrize.remove_parametrizations(layer, tensor, leave_parametrized=True)
        return model

    group = ParameterGroup(name="ssf", parameters=parameters_of(made))
    return Adapted(model=model, groups=(group,), merge=merge)


method = Method(
    name="ssf",
    summary="A trained scale and shift of every channel, folded into the layers.",
    source="Lian et al. 2022, Scaling & Shifting Your Features, arXiv:2210.08823",
    traits=Traits(category="additive", batchnorm="frozen", mergeable=True),
    adapt=adapt,
    version=2,
)
