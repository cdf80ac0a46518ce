"""Residual bottleneck adapters: x + up(relu(down(x))) after each sublayer or block.

Houlsby et al. 2019, Parameter-Efficient Transfer Learning for NLP, arXiv:1902.00751: in a
transformer block one adapter after attention (or what mixes the tokens in its place) and one after
the MLP, each before its residual connection. Convolutional blocks have the form of Rebuffi et al.
2017, arXiv:1705.08045: 1 × 1 convolutions after the block, which is a Sequential. The up-projection
starts at zero (the near-identity start that Houlsby et al. ask for, here exact). Width 16 is the
rank that the FWI paper gives LoRA. On InversionNet one adapter after each of the 25 blocks, biases
included, the last one after Tanh: 142,993 parameters. BatchNorm is frozen, as in the rest of the
foundation.
"""

from pydantic import PositiveInt
from torch import Tensor, nn

from bench.contract import Adapted, Config, Method, ParameterGroup, Traits
from methods._surgery import check_encoder, convolution, follow, parameters_of
from methods._transformer import TransformerBlock, blocks, convolutional_blocks


class AdapterConfig(Config):
    """The width of the bottleneck."""

    width: PositiveInt = 16
    """Channels of the bottleneck."""


class Adapter(nn.Module):
    """x ↦ x + up(relu(down(x))); maps (n, channels, z, x) or tokens (n, …, channels)."""

    def __init__(self, channels: int, width: int, *, maps: bool = True) -> None:
        super().__init__()
        self.down = nn.Conv2d(channels, width, 1) if maps else nn.Linear(channels, width)
        self.activation = nn.ReLU(inplace=True)
        self.up = nn.Conv2d(width, channels, 1) if maps else nn.Linear(width, channels)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.get_parameter("bias"))

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.up(self.activation(self.down(x)))
        return x + change


def after_sublayers(block: TransformerBlock, width: int) -> list[Adapter]:
    """Adapters behind a transformer block's mixers and MLP."""
    maps = [*(block.gives_maps(mixer) for mixer in block.mixers), block.maps]
    adapters = [Adapter(block.width, width, maps=on_maps) for on_maps in maps]
    for sublayer, adapter in zip((*block.mixers, block.last), adapters, strict=True):
        follow(sublayer, "adapter", adapter)
    return adapters


def adapt(model: nn.Module, config: AdapterConfig) -> Adapted:
    """Put adapters into every transformer block, and behind every convolutional block."""
    convolutional = convolutional_blocks(model)
    adapters = [a for block in blocks(model) for a in after_sublayers(block, config.width)]
    for sequence in convolutional.values():
        adapter = Adapter(convolution(sequence).out_channels, config.width)
        sequence.append(adapter)
        adapters.append(adapter)
    check_encoder("adapter", model, adapters)
    group = ParameterGroup(name="adapters", parameters=parameters_of(adapters))
    return Adapted(model=model, groups=(group,))


method = Method(
    name="adapter",
    summary="A residual bottleneck after attention, MLP and convolutional blocks.",
    source="Houlsby et al. 2019, arXiv:1902.00751; Rebuffi et al. 2017, arXiv:1705.08045",
    traits=Traits(category="additive", batchnorm="frozen"),
    config=AdapterConfig,
    adapt=adapt,
    version=3,
    unchanged={"inversionnet": 1, "inversionnet_quarter": 1},
)
