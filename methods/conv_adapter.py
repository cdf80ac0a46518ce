"""Conv-Adapter: after each block x + pointwise(relu(depthwise(x))).

Chen et al. 2022, Conv-Adapter, arXiv:2208.07463: a k × k depthwise convolution that also divides
the channels by the compression, ReLU, and a 1 × 1 convolution back, with biases. k = 3 and
compression 8 are the defaults of the authors' code. The 1 × 1 starts at zero, which makes it an
identity; the authors' trained scale of each output channel would only multiply the rows of that
1 × 1 and is left out. 206,952 parameters on InversionNet.
BatchNorm is frozen, as in the rest of the foundation.
"""

from math import gcd
from typing import Annotated

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from bench.contract import Adapted, Config, ConfigError, Method, ParameterGroup, Traits
from methods._surgery import blocks, convolution, parameters_of


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
    """Append an adapter to every block."""
    if config.kernel % 2 == 0:
        raise ConfigError(
            f"Option kernel of 'conv_adapter' is {config.kernel}; it must be odd, or the adapter "
            "would shift the map by half a cell."
        )
    adapters = []
    for block in blocks(model).values():
        channels = convolution(block).out_channels
        adapter = ConvAdapter(channels, config.kernel, config.compression)
        block.append(adapter)
        adapters.append(adapter)
    group = ParameterGroup(name="adapters", parameters=parameters_of(adapters))
    return Adapted(model=model, groups=(group,))


method = Method(
    name="conv_adapter",
    summary="A residual depthwise k × k and 1 × 1 convolution after each block.",
    source="Chen et al. 2022, Conv-Adapter, arXiv:2208.07463",
    traits=Traits(category="additive", batchnorm="frozen"),
    config=ConvAdapterConfig,
    adapt=adapt,
)
