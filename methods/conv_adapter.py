"""Conv-Adapter: x + pointwise(relu(depthwise(x))) after each convolutional block.

Chen et al. 2022, Conv-Adapter, arXiv:2208.07463: a k × k depthwise convolution that also divides
the channels by the compression, ReLU, and a 1 × 1 convolution back, with biases. k = 3 and
compression 8 are the defaults of the authors' code. The 1 × 1 starts at zero, which makes it an
identity; the authors' trained scale of each output channel would only multiply the rows of that 1 ×
1 and is left out. 206,952 parameters on InversionNet. In the blocks of a MetaFormer it comes after
what mixes the tokens, where they lie on maps; sequences of tokens have no neighbourhood to convolve
and are left as they are. The authors adapt activations inside blocks: a sequence that ends in a
bare convolution, as the readout of Fourier-DeepONet does, is left as it is. What comes from one may
have the same sign everywhere, and then no gradient passes the ReLU of an adapter with one inner
channel. A last block that ends in Tanh, as that of InversionNet, is a block like others. BatchNorm
is frozen, as in the rest of the foundation.
"""

from math import gcd
from typing import Annotated

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from bench.contract import Adapted, Config, ConfigError, Method, ParameterGroup, Traits
from methods._surgery import (
    CONVOLUTIONS,
    check_encoder,
    convolution,
    follow,
    parameters_of,
)
from methods._transformer import blocks, convolutional_blocks


class ConvAdapterConfig(Config):
    """Size of the depthwise convolution."""

    kernel: Annotated[int, Field(gt=0)] = 3
    """Width of the depthwise kernel in cells, odd."""
    compression: PositiveInt = 8
    """Channels of a block per channel of its adapter."""


class ConvAdapter(nn.Module):
    """x ↦ x + pointwise(relu(depthwise(x))); (n, channels, z, x) → the same shape."""

    def __init__(self, channels: int, kernel: int, compression: int) -> None:
        super().__init__()
        inner = channels // gcd(channels, compression)
        self.depthwise = nn.Conv2d(channels, inner, kernel, padding=kernel // 2, groups=inner)
        self.activation = nn.ReLU(inplace=True)
        self.pointwise = nn.Conv2d(inner, channels, 1)
        nn.init.zeros_(self.pointwise.weight)
        nn.init.zeros_(self.pointwise.get_parameter("bias"))

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.pointwise(self.activation(self.depthwise(x)))
        return x + change


def adapt(model: nn.Module, config: ConvAdapterConfig) -> Adapted:
    """Put an adapter behind every convolutional block, and every mixer of tokens on maps."""
    if config.kernel % 2 == 0:
        raise ConfigError(
            f"Option kernel of 'conv_adapter' is {config.kernel}; it must be odd, or the adapter "
            "would shift the map by half a cell."
        )
    convolutional = convolutional_blocks(model)
    adapters = []

    def adapter_of(channels: int) -> ConvAdapter:
        adapters.append(ConvAdapter(channels, config.kernel, config.compression))
        return adapters[-1]

    for block in blocks(model):
        for mixer in filter(block.gives_maps, block.mixers):
            follow(mixer, "adapter", adapter_of(block.width))
    for sequence in convolutional.values():
        if not isinstance(sequence[-1], CONVOLUTIONS):  # a readout
            sequence.append(adapter_of(convolution(sequence).out_channels))
    check_encoder("conv_adapter", model, adapters)
    group = ParameterGroup(name="adapters", parameters=parameters_of(adapters))
    return Adapted(model=model, groups=(group,))


method = Method(
    name="conv_adapter",
    summary="A residual depthwise k × k and 1 × 1 convolution after each convolutional block.",
    source="Chen et al. 2022, Conv-Adapter, arXiv:2208.07463",
    traits=Traits(category="additive", batchnorm="frozen"),
    config=ConvAdapterConfig,
    adapt=adapt,
    version=3,
)
