"""AdaptFormer: block(x) + scale · up(relu(down(x))) on the blocks that keep their input's shape.

Chen et al. 2022, AdaptFormer, arXiv:2205.13535: a bottleneck in parallel with the transformer's
MLP, here with each block that has stride 1 and keeps width and height (on InversionNet the second
convolution of each pair and the last block: 12 of 25). 1 × 1 convolutions with biases take the
place of the linear layers. Width 64, scale 0.1 and the zero start of the up-projection are the
authors' defaults. 246,433 parameters on InversionNet. BatchNorm is frozen, as in the rest of the
foundation.
"""

import math

from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from bench.contract import Adapted, Config, ConfigError, Method, ParameterGroup, Traits
from methods._surgery import blocks, convolution, parameters_of


class AdaptFormerConfig(Config):
    """Bottleneck and weight of the parallel branch."""

    width: PositiveInt = 64
    """Channels of the bottleneck."""
    scale: PositiveFloat = 0.1


class Branch(nn.Module):
    """x ↦ scale · up(relu(down(x))); (n, in, z, x) → (n, out, z, x)."""

    def __init__(self, inputs: int, outputs: int, width: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.down = nn.Conv2d(inputs, width, 1)
        self.activation = nn.ReLU(inplace=True)
        self.up = nn.Conv2d(width, outputs, 1)
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))
        for tensor in (self.down.get_parameter("bias"), *self.up.parameters()):
            nn.init.zeros_(tensor)

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.up(self.activation(self.down(x)))
        return self.scale * change


class Parallel(nn.Sequential):
    """A sequence, its layers under their own names, plus a branch beside all of them."""

    def __init__(self, sequence: nn.Sequential, branch: Branch) -> None:
        super().__init__()
        for name, module in sequence.named_children():
            self.add_module(name, module)
        self.add_module("branch", branch)

    def forward(self, x: Tensor) -> Tensor:
        *layers, branch = self.children()
        change: Tensor = branch(x)  # first: a layer may overwrite what it is given
        for layer in layers:
            x = layer(x)
        return x + change


def keeps_shape(layer: nn.Conv2d | nn.ConvTranspose2d) -> bool:
    """Stride 1 and "same" padding."""
    if isinstance(layer.padding, str):
        return layer.padding == "same" and set(layer.stride) == {1}
    reach = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    return set(layer.stride) == {1} and [2 * int(p) for p in layer.padding] == reach


def adapt(model: nn.Module, config: AdaptFormerConfig) -> Adapted:
    """Put a branch beside every block that keeps its input's shape."""
    branches = []
    for name, block in blocks(model).items():
        layers = [m for m in block if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
        if not all(map(keeps_shape, layers)):
            continue
        inputs, outputs = layers[0].in_channels, convolution(block).out_channels
        branch = Branch(inputs, outputs, config.width, config.scale)
        model.set_submodule(name, Parallel(block, branch))
        branches.append(branch)
    if not branches:
        raise ConfigError("The network has no block of stride 1 for 'adaptformer' to run beside.")
    group = ParameterGroup(name="branches", parameters=parameters_of(branches))
    return Adapted(model=model, groups=(group,))


method = Method(
    name="adaptformer",
    summary="A scaled bottleneck in parallel with each block of stride 1.",
    source="Chen et al. 2022, AdaptFormer, arXiv:2205.13535",
    traits=Traits(category="additive", batchnorm="frozen"),
    config=AdaptFormerConfig,
    adapt=adapt,
)
