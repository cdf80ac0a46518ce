"""Residual bottleneck adapters: after each block x + up(relu(down(x))), both 1 × 1.

Houlsby et al. 2019, Parameter-Efficient Transfer Learning for NLP, arXiv:1902.00751, in the
convolutional form of Rebuffi et al. 2017, arXiv:1705.08045. The up-projection starts at zero (the
near-identity start that Houlsby et al. ask for, here exact). Width 16 is the rank that the FWI
paper gives LoRA. On InversionNet one adapter after each of the 25 blocks, biases included, the
last one after Tanh: 142,993 parameters. BatchNorm is frozen, as in the rest of the foundation.
"""

from pydantic import PositiveInt
from torch import Tensor, nn

from bench.contract import Adapted, Config, Method, ParameterGroup, Traits
from methods._surgery import blocks, convolution, parameters_of


class AdapterConfig(Config):
    """The width of the bottleneck."""

    width: PositiveInt = 16
    """Channels of the bottleneck."""


class Adapter(nn.Module):
    """x ↦ x + up(relu(down(x))); (n, channels, z, x) → the same shape."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(channels, width, 1)
        self.activation = nn.ReLU(inplace=True)
        self.up = nn.Conv2d(width, channels, 1)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.get_parameter("bias"))

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.up(self.activation(self.down(x)))
        return x + change


def adapt(model: nn.Module, config: AdapterConfig) -> Adapted:
    """Append an adapter to every block."""
    adapters = []
    for block in blocks(model).values():
        adapter = Adapter(convolution(block).out_channels, config.width)
        block.append(adapter)
        adapters.append(adapter)
    group = ParameterGroup(name="adapters", parameters=parameters_of(adapters))
    return Adapted(model=model, groups=(group,))


method = Method(
    name="adapter",
    summary="A residual 1 × 1 bottleneck after each block.",
    source="Houlsby et al. 2019, arXiv:1902.00751; Rebuffi et al. 2017, arXiv:1705.08045",
    traits=Traits(category="additive", batchnorm="frozen"),
    config=AdapterConfig,
    adapt=adapt,
)
