"""InversionNet (Wu & Lin 2019), in the form that OpenFWI trains (Deng et al. 2022).

Module names are those of the public OpenFWI code, so that its published checkpoints load.
"""

import re

import torch.nn.functional as F
from torch import Tensor, nn

from bench.contract import Backbone

#  name, in, out, kernel, stride, padding: (z or time, x)
_ENCODER = (
    ("convblock1", 5, 32, (7, 1), (2, 1), (3, 0)),
    ("convblock2_1", 32, 64, (3, 1), (2, 1), (1, 0)),
    ("convblock2_2", 64, 64, (3, 1), (1, 1), (1, 0)),
    ("convblock3_1", 64, 64, (3, 1), (2, 1), (1, 0)),
    ("convblock3_2", 64, 64, (3, 1), (1, 1), (1, 0)),
    ("convblock4_1", 64, 128, (3, 1), (2, 1), (1, 0)),
    ("convblock4_2", 128, 128, (3, 1), (1, 1), (1, 0)),
    ("convblock5_1", 128, 128, (3, 3), (2, 2), (1, 1)),
    ("convblock5_2", 128, 128, (3, 3), (1, 1), (1, 1)),
    ("convblock6_1", 128, 256, (3, 3), (2, 2), (1, 1)),
    ("convblock6_2", 256, 256, (3, 3), (1, 1), (1, 1)),
    ("convblock7_1", 256, 256, (3, 3), (2, 2), (1, 1)),
    ("convblock7_2", 256, 256, (3, 3), (1, 1), (1, 1)),
    ("convblock8", 256, 512, (8, 9), (1, 1), (0, 0)),
)
#  name, in, out, kernel, stride, padding of the transposed convolution; a 3×3 one follows it
_DECODER = (
    ("deconv1", 512, 512, 5, 1, 0),
    ("deconv2", 512, 256, 4, 2, 1),
    ("deconv3", 256, 128, 4, 2, 1),
    ("deconv4", 128, 64, 4, 2, 1),
    ("deconv5", 64, 32, 4, 2, 1),
)


class Block(nn.Module):
    """A (transposed) convolution, BatchNorm and an activation, as `layers.0`, `.1`, `.2`."""

    def __init__(self, convolution: nn.Module, channels: int, activation: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(convolution, nn.BatchNorm2d(channels), activation)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


class InversionNet(nn.Module):
    """Scaled records (n, 5 shots, 1000 time steps, 70 receivers) → scaled maps (n, 1, 70 z, 70 x).

    24,409,123 parameters: 20 Conv2d, 5 ConvTranspose2d, BatchNorm and LeakyReLU(0.2) after each
    but the last, which ends in Tanh. The encoder's bottleneck is 512 × 1 × 1; the decoder makes
    80 × 80 and crops 5 cells a side. No skip connections. With `narrower` n, every hidden layer
    has an n-th of its channels.
    """

    def __init__(self, narrower: int = 1) -> None:
        super().__init__()

        def width(channels: int) -> int:
            """The five shots of a record and the one map stay."""
            return channels // narrower if channels >= 32 else channels

        for name, inp, out, kernel, stride, padding in _ENCODER:
            conv = nn.Conv2d(width(inp), width(out), kernel, stride, padding)
            self.add_module(name, Block(conv, width(out), _leaky()))
        for name, inp, out, kernel_size, step, pad in _DECODER:
            wide = width(out)
            up = nn.ConvTranspose2d(width(inp), wide, kernel_size, step, pad)
            self.add_module(f"{name}_1", Block(up, wide, _leaky()))
            self.add_module(f"{name}_2", Block(nn.Conv2d(wide, wide, 3, 1, 1), wide, _leaky()))
        self.deconv6 = Block(nn.Conv2d(width(32), 1, 3, 1, 1), 1, nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        *hidden, last = self.children()
        for block in hidden:
            x = block(x)
        out: Tensor = last(F.pad(x, (-5, -5, -5, -5)))
        return out


def _leaky() -> nn.LeakyReLU:
    return nn.LeakyReLU(0.2, inplace=True)


def own_name(name: str) -> str:
    """The name of a tensor in checkpoints of OpenFWI's older code, as its loader renames them."""
    return re.sub(r"\.(?:Resize|De)?[Cc]onv2DwithBN(?:_Tanh)?\.", ".layers.", name)


backbone = Backbone(
    name="inversionnet",
    summary="Convolutional encoder and decoder, the network of the paper; 24.4 M parameters.",
    source="Wu & Lin 2019, InversionNet, doi:10.1109/TCI.2019.2956866; Deng et al. 2022, OpenFWI",
    build=InversionNet,
    own_name=own_name,
)
