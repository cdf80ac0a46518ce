"""AdaptFormer: mlp(x) + scale · up(relu(down(x))), beside each MLP and block that keeps its shape.

Chen et al. 2022, AdaptFormer, arXiv:2205.13535: a bottleneck in parallel with the MLP of every
transformer block, on the MLP's own input. In a convolutional network, and in what is convolutional
around a transformer, it runs beside each block that has stride 1 and keeps width and height (on
InversionNet the second convolution of each pair and the last block: 12 of 25), where 1 × 1
convolutions with biases take the place of the linear layers. Width 64, scale 0.1 and the zero
start of the up-projection are the authors' defaults. 246,433 parameters on InversionNet. BatchNorm
is frozen, as in the rest of the foundation.
"""

import math

from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from bench.contract import Adapted, Config, Method, ParameterGroup, Traits
from methods._surgery import RESIZING, check_encoder, parameters_of
from methods._transformer import TransformerBlock, blocks, convolutional_blocks


class AdaptFormerConfig(Config):
    """Bottleneck and weight of the parallel branch."""

    width: PositiveInt = 64
    """Channels of the bottleneck."""
    scale: PositiveFloat = 0.1


class Branch(nn.Module):
    """x ↦ scale · up(relu(down(x))); maps (n, in, z, x) → (n, out, z, x), or tokens (n, …, in)."""

    def __init__(
        self, inputs: int, outputs: int, width: int, scale: float, *, maps: bool = True
    ) -> None:
        super().__init__()
        self.scale = scale
        self.down = nn.Conv2d(inputs, width, 1) if maps else nn.Linear(inputs, width)
        self.activation = nn.ReLU(inplace=True)
        self.up = nn.Conv2d(width, outputs, 1) if maps else nn.Linear(width, outputs)
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


class Beside(Branch):
    """A branch that takes what one layer takes, and adds to what a later one gives.

    It stands in the first; hooks keep the names of all modules.
    """

    _change: Tensor | None = None
    """Between the two layers of one forward pass."""

    def take(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Hook before the first layer."""
        self._change = self(inputs[0])

    def give(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """Hook behind the last layer."""
        change, self._change = self._change, None
        return output if change is None else output + change

    def put(self, first: nn.Module, last: nn.Module) -> None:
        """Run beside all that is between two layers, themselves included."""
        first.add_module("branch", self)
        first.register_forward_pre_hook(self.take)
        last.register_forward_hook(self.give)


def beside_mlp(block: TransformerBlock, config: AdaptFormerConfig) -> Branch:
    """A branch beside a transformer block's MLP."""
    branch = Beside(block.width, block.width, config.width, config.scale, maps=block.maps)
    branch.put(block.first, block.last)
    return branch


def beside_sequence(model: nn.Module, name: str, config: AdaptFormerConfig) -> Branch | None:
    """A branch beside a convolutional block; None where that does not keep its input's shape."""
    sequence = model.get_submodule(name)
    assert isinstance(sequence, nn.Sequential)
    layers = [m for m in sequence if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    resized = any(isinstance(module, RESIZING) for module in sequence)
    if resized or not all(map(keeps_shape, layers)):
        return None
    sizes = layers[0].in_channels, layers[-1].out_channels, config.width, config.scale
    if type(sequence) is nn.Sequential and name:
        branch = Branch(*sizes)
        model.set_submodule(name, Parallel(sequence, branch))
        return branch
    beside = Beside(*sizes)  # its own forward method stays
    beside.put(sequence[0], sequence[-1])
    return beside


def keeps_shape(layer: nn.Conv2d | nn.ConvTranspose2d) -> bool:
    """Stride 1 and "same" padding."""
    if isinstance(layer.padding, str):
        return layer.padding == "same" and set(layer.stride) == {1}
    reach = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    return set(layer.stride) == {1} and [2 * int(p) for p in layer.padding] == reach


def adapt(model: nn.Module, config: AdaptFormerConfig) -> Adapted:
    """Put a branch beside every MLP, and every convolutional block that keeps its input's shape."""
    convolutional = convolutional_blocks(model)
    branches = [beside_mlp(block, config) for block in blocks(model)]
    for name in convolutional:
        branch = beside_sequence(model, name, config)
        if branch is not None:
            branches.append(branch)
    check_encoder("adaptformer", model, branches)
    group = ParameterGroup(name="branches", parameters=parameters_of(branches))
    return Adapted(model=model, groups=(group,))


method = Method(
    name="adaptformer",
    summary="A scaled bottleneck in parallel with each MLP and each block of stride 1.",
    source="Chen et al. 2022, AdaptFormer, arXiv:2205.13535",
    traits=Traits(category="additive", batchnorm="frozen"),
    config=AdaptFormerConfig,
    adapt=adapt,
    version=3,
)
