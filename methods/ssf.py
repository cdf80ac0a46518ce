"""SSF: a trained scale and shift of every channel, folded into the layer before it.

Lian et al. 2022, Scaling & Shifting Your Features, arXiv:2210.08823: y = scale · x + shift. It
starts at scale 1 and shift 0, the identity; the published N(1, 0.02) start is not. A convolution
and the BatchNorm right behind it share one pair: with BatchNorm in evaluation mode both are
channel-wise affine, and a second pair could express nothing more. The pair is folded while
training, too: it acts on BatchNorm's own scale and shift, or on weight and bias where no BatchNorm
follows, and adds no activation. 8,642 parameters on InversionNet; no other hyper-parameter.

BatchNorm's statistics, scale and shift are frozen; the pair multiplies and adds to them.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

from bench.contract import Adapted, Config, Method, ParameterGroup, Traits
from methods._surgery import CONVOLUTIONS, WEIGHT_LAYERS, parameters_of, select


class Shift(nn.Module):
    """bias ↦ scale · bias + shift. Owns both parameters, (channels,)."""

    def __init__(self, like: Tensor) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones_like(like))
        self.shift = nn.Parameter(torch.zeros_like(like))

    def forward(self, bias: Tensor) -> Tensor:
        return self.scale * bias + self.shift


class Scale(nn.Module):
    """weight ↦ scale · weight along the output channels, with the scale of a `Shift`."""

    def __init__(self, shift: Shift, axis: int) -> None:
        super().__init__()
        self._shift = (shift,)  # in a tuple: its parameters are saved once, with the bias
        self.axis = axis

    def forward(self, weight: Tensor) -> Tensor:
        shape = [1] * weight.ndim
        shape[self.axis] = -1
        return weight * self._shift[0].scale.view(shape)


def targets(model: nn.Module) -> list[nn.Module]:
    """For each weight layer, the layer to fold into: the BatchNorm behind it, or itself."""
    follower: dict[nn.Module, nn.Module] = {}
    for module in model.modules():
        if isinstance(module, nn.Sequential):
            follower |= dict(pairwise(module))
    chosen = []
    for layer in select(model, WEIGHT_LAYERS).values():
        behind = follower.get(layer)
        fits = isinstance(layer, CONVOLUTIONS) and isinstance(behind, _BatchNorm) and behind.affine
        chosen.append(behind if fits and behind is not None else layer)
    return chosen


def adapt(model: nn.Module, config: Config) -> Adapted:
    """Fold a scale and a shift into every layer."""
    layers, shifts = targets(model), []
    for layer in layers:
        axis = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
        weight = layer.get_parameter("weight")
        if layer._parameters["bias"] is None:
            bias = nn.Parameter(weight.new_zeros(weight.shape[axis]), requires_grad=False)
            layer.register_parameter("bias", bias)
        shift = Shift(layer.get_parameter("bias").detach())
        parametrize.register_parametrization(layer, "bias", shift)
        parametrize.register_parametrization(layer, "weight", Scale(shift, axis))
        shifts.append(shift)

    def merge() -> nn.Module:
        for layer in layers:
            for tensor in ("weight", "bias"):
                parametrize.remove_parametrizations(layer, tensor, leave_parametrized=True)
        return model

    group = ParameterGroup(name="ssf", parameters=parameters_of(shifts))
    return Adapted(model=model, groups=(group,), merge=merge)


method = Method(
    name="ssf",
    summary="A trained scale and shift of every channel, folded into the layers.",
    source="Lian et al. 2022, Scaling & Shifting Your Features, arXiv:2210.08823",
    traits=Traits(category="additive", batchnorm="frozen", mergeable=True),
    adapt=adapt,
)
