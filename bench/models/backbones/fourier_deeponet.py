"""Fourier-DeepONet: a deep operator network whose decoder works in the Fourier domain.

Zhu et al. 2023, CMAME 416, 116300 (arXiv:2305.17289): a branch net lifts the records, a trunk net
the parameters of the sources; their product plus a bias goes through one Fourier layer (Li et al.
2021, arXiv:2010.08895) and three U-Fourier layers (Wen et al. 2022, arXiv:2109.03697). Kernels,
modes and the way in which time becomes depth are those of the authors' published code.

The paper varies the sources; OpenFWI's are always the same. So the trunk net is as it is there, but
what it gets is a constant: the five locations and the frequency of OpenFWI's survey.

What differs: 32 channels instead of 64; a branch net that also thins time to a fifth, by a kernel
of 15 steps (100 Hz remain, and a source of 15 Hz emits next to nothing above 50 Hz); a final tanh,
as labels lie in [-1, 1]. The first two leave a sixteenth of the paper's multiplications.

The spectral convolution is that of the library neuraloperator (extra `operators`), imported when
the network is built. It computes in single precision, whatever the rest of the network does.
"""

import math
import warnings
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bench.contract import Backbone, ConfigError

_WIDTH = 32
_MODES = (40, 20)
"""Frequencies kept: 20 of either sign along the receivers, the 20 lowest along time."""
_PADDED = 72
"""Receivers with one copy of the outermost ones at each end: 72 halves three times."""
_STEPS = (200, 144, 104, 70)
"""Length of the time axis before each U-Fourier layer, and the depth cells after the last."""
_LOCATIONS_M = (0.0, 172.5, 345.0, 517.5, 690.0)
_FREQUENCY_HZ = 15.0


def spectral_convolution(width: int) -> Any:
    """The library's layer, freshly initialised, with a complex weight (in, out, 40, 20).

    Raises `ConfigError` if the library is not installed.
    """
    try:
        with warnings.catch_warnings():  # the library and what it imports warn, and add filters
            warnings.simplefilter("ignore")
            from neuralop.layers.spectral_convolution import SpectralConv
    except ImportError as error:
        raise ConfigError(
            "Backbone 'fourier_deeponet' needs the library neuraloperator: "
            "pip install 'fwi-peft-bench[operators]'."
        ) from error
    receivers, time = _MODES
    # The library counts the modes of a real signal along its last axis on both sides
    return SpectralConv(width, width, (receivers, 2 * (time - 1)), bias=False)


class SpectralConv2d(nn.Module):
    """A linear map of the channels for each of the lowest frequencies; the others become zero.

    (n, c, receivers, time) → the same. The library holds its weight as one complex tensor. Here it
    is two real ones, so that it is counted, saved and trained like any other.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out_channels = width
        layer = spectral_convolution(width)
        weight = layer.weight.to_tensor().detach()
        dtype = torch.get_default_dtype()
        self.real = nn.Parameter(weight.real.to(dtype, copy=True))
        self.imaginary = nn.Parameter(weight.imag.to(dtype, copy=True))
        self._layer = (layer.to("meta"),)  # not a child: its weight is never used

    def forward(self, x: Tensor) -> Tensor:
        weight = torch.complex(self.real, self.imaginary)
        with torch.autocast(x.device.type, enabled=False):  # there is no FFT in bfloat16
            wide = x.float() if x.dtype.itemsize < 4 else x
            y: Tensor = functional_call(self._layer[0], {"weight.tensor": weight}, (wide,))
        return y.to(x.dtype)


class UNet(nn.Module):
    """The local part of a U-Fourier layer, (n, c, receivers, time) → the same.

    Both axes are halved three times, so each must be a multiple of 8.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down1 = _convolution(width, 2)
        self.down2 = nn.Sequential(_convolution(width, 2), _convolution(width, 1))
        self.down3 = nn.Sequential(_convolution(width, 2), _convolution(width, 1))
        self.up3 = _transposed(width, width)
        self.up2 = _transposed(2 * width, width)
        self.up1 = _transposed(2 * width, width)
        self.out = nn.Conv2d(2 * width, width, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        half = self.down1(x)
        quarter = self.down2(half)
        up = self.up3(self.down3(quarter))
        up = self.up2(torch.cat((quarter, up), dim=1))
        up = self.up1(torch.cat((half, up), dim=1))
        out: Tensor = self.out(torch.cat((x, up), dim=1))
        return out


def _convolution(width: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, width, 3, stride, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.LeakyReLU(0.1, inplace=True),
    )


def _transposed(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(inputs, outputs, 4, 2, 1), nn.LeakyReLU(0.1, inplace=True)
    )


class FourierLayer(nn.Module):
    """Spectral and pointwise convolution, summed; then ReLU. (n, c, receivers, time) → the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.spectral = SpectralConv2d(width)
        self.pointwise = nn.Conv2d(width, width, 1)
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.activation(self.spectral(x) + self.pointwise(x))
        return out


class UFourierLayer(nn.Module):
    """Spectral, pointwise and U-Net part, summed; time made shorter by a linear map; then ReLU."""

    def __init__(self, width: int, steps: int, shorter: int) -> None:
        super().__init__()
        self.spectral = SpectralConv2d(width)
        self.pointwise = nn.Conv2d(width, width, 1)
        self.unet = UNet(width)
        self.shorten = nn.Linear(steps, shorter)
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.spectral(x) + self.pointwise(x) + self.unet(x)
        out: Tensor = self.activation(self.shorten(x))
        return out


class FourierDeepONet(nn.Module):
    """Scaled records (n, 5 shots, 1000 time steps, 70 receivers) → scaled maps (n, 1, 70 z, 70 x).

    Inside, receivers come before time: 32 × 72 × 200 behind branch and trunk, then 144, 104 and 70
    steps, the last of which are the depths of the map.
    """

    sources: Tensor

    def __init__(self, width: int = _WIDTH) -> None:
        super().__init__()
        sources = torch.tensor(_source_parameters())
        self.register_buffer("sources", sources)
        self.branch = nn.Conv2d(5, width, (1, 15), (1, 5), (0, 7))
        self.trunk = nn.Linear(len(sources), width)
        self.bias = nn.Parameter(torch.zeros(1))
        self.fourier = FourierLayer(width)
        self.u_fourier = nn.Sequential(*(UFourierLayer(width, a, b) for a, b in pairwise(_STEPS)))
        self.project = nn.Sequential(nn.Conv2d(width, 128, 1), nn.ReLU(), nn.Conv2d(128, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        # F.pad has no deterministic gradient on a GPU, which learned inputs need
        x = torch.cat((x[..., :1], x, x[..., -1:]), dim=3).transpose(2, 3)
        x = self.branch(x) * self.trunk(self.sources[None])[..., None, None] + self.bias
        x = self.project(self.u_fourier(self.fourier(x)))
        return torch.tanh(x[:, :, 1:-1].transpose(2, 3))


def _source_parameters() -> list[float]:
    """Locations and frequency in [-1, 1], on the logarithmic scale of the authors' code."""

    def scaled(value: float, low: float, high: float) -> float:
        place = (math.log1p(value) - math.log1p(low)) / (math.log1p(high) - math.log1p(low))
        return 2 * place - 1

    return [*(scaled(x, 0, 690) for x in _LOCATIONS_M), scaled(_FREQUENCY_HZ, 5, 25)]


backbone = Backbone(
    name="fourier_deeponet",
    summary="Deep operator network with a decoder of U-Fourier layers; 7.1 M parameters.",
    source="Zhu et al. 2023, Fourier-DeepONet, doi:10.1016/j.cma.2023.116300",
    build=FourierDeepONet,
)
