"""Spectral adapters: residual bottlenecks on the low Fourier modes of what each layer puts out.

After Zhang et al. 2025, F-Adapter, arXiv:2509.23173: in the layers of a Fourier neural operator an
adapter up(gelu(down(·))) acts on the channels of each mode, on real and imaginary part alike, and
is wider for low frequencies, where solutions of differential equations have their energy: band b
of B has the width min + (max − min) · (1 − centre_b)^p, with p = 2, B = 4, min and max half and
twice the given width. The up-projection starts at zero.

Most networks have no Fourier layers. So what is transformed, adapted, transformed back and added,
y + F⁻¹(adapter(F y)), is the output of every (transposed) convolution with a spatial kernel, and
that of spectral convolutions, layers of the class `SpectralConv2d` as in `fourier_deeponet`. Chosen
here: a mode's frequency is the larger of its two wave numbers; only wave numbers below `modes` are
adapted; and the bands share one adapter of which they use the first hidden units, instead of one
each, so that a place with a small map (a bottleneck of 1 × 1) trains all its units too. Linear
layers have no maps and are left alone.

2 · w · out + w + out parameters a layer, w the width of the lowest band, 26 by default: 229,663 on
InversionNet. Not mergeable: the adapter is not linear. BatchNorm is frozen.
"""

from typing import cast

import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from bench.contract import Adapted, Method, ParameterGroup, Traits
from methods._low_rank import full_precision
from methods._surgery import check_encoder, follow, parameters_of
from methods._weights import LayersConfig, spatial_convolutions

SPECTRAL = "SpectralConv2d"
"""Class name of a layer of Fourier neural operators with maps (n, channels, …, …) on both sides and
an attribute `out_channels`, as in Li et al.'s code."""


class SpectralAdapterConfig(LayersConfig):
    """Which modes, and how wide the bottleneck is for them."""

    width: PositiveInt = 16
    """Bands have from half to twice as many hidden units."""
    modes: PositiveInt = 16
    """Wave numbers below this are adapted, along each axis."""
    bands: PositiveInt = 4
    power: NonNegativeFloat = 2.0
    """How fast the width falls with frequency."""


def band_widths(config: SpectralAdapterConfig) -> list[int]:
    """Hidden units of each band, the lowest frequencies first."""
    least, most = max(1, config.width // 2), 2 * config.width
    centres = [(band + 0.5) / config.bands for band in range(config.bands)]
    return [int(least + (most - least) * (1 - c) ** config.power) for c in centres]


class SpectralAdapter(nn.Module):
    """y ↦ y + F⁻¹(up(gelu(down(F y)))) on low modes; (n, channels, z, x) → the same shape."""

    def __init__(self, like: Tensor, channels: int, config: SpectralAdapterConfig) -> None:
        super().__init__()
        widths = band_widths(config)
        self.modes = config.modes
        self.register_buffer("widths", torch.tensor(widths, device=like.device))
        self.down = nn.Linear(channels, widths[0], dtype=like.dtype, device=like.device)
        self.up = nn.Linear(widths[0], channels, dtype=like.dtype, device=like.device)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, y: Tensor) -> Tensor:
        with full_precision(y):
            # (n, z, x / 2 + 1, channels); rows of negative wave numbers at the end
            spectrum = torch.fft.rfft2(y.to(self.up.weight.dtype), norm="ortho").movedim(1, -1)
            height, width = y.shape[2:]
            columns = min(self.modes, width // 2 + 1)
            last = min(self.modes - 1, (height - 1) // 2)
            first = min(self.modes, height - last)
            low = torch.cat((spectrum[:, :first], spectrum[:, height - last :]), 1)[:, :, :columns]
            hidden = F.gelu(self.down(torch.view_as_real(low).movedim(-1, 0)))
            real, imaginary = self.up(hidden * self._units(first, last, columns))
            adapted = torch.complex(real, imaginary)
            change = torch.zeros_like(spectrum)
            change[:, :first, :columns] = adapted[:, :first]
            change[:, height - last :, :columns] = adapted[:, first:]
            back = torch.fft.irfft2(change.movedim(-1, 1), (height, width), norm="ortho")
            adapted_output: Tensor = y + back.to(y.dtype)
            return adapted_output

    def _units(self, first: int, last: int, columns: int) -> Tensor:
        """1 for the hidden units that a mode uses, else 0; (rows, columns, hidden units)."""
        widths = self.get_buffer("widths")

        def count(*limits: int) -> Tensor:
            return torch.arange(*limits, device=widths.device)

        rows = torch.cat((count(first), count(last, 0, -1)))
        wave_numbers = torch.maximum(rows[:, None], count(columns))
        bands = wave_numbers * len(widths) // self.modes
        units: Tensor = count(self.up.in_features) < widths[bands][..., None]
        return units.type_as(self.up.weight)


def adapt(model: nn.Module, config: SpectralAdapterConfig) -> Adapted:
    """Put a spectral adapter behind every chosen convolution."""
    kinds = {kind for layer in model.modules() for kind in type(layer).__mro__}
    spectral = [kind for kind in kinds if kind.__name__ == SPECTRAL]
    adapters = []
    for layer in spatial_convolutions(model, config.layers, spectral).values():
        like = next(layer.parameters()).detach()
        like = like.real if like.is_complex() else like
        adapter = SpectralAdapter(like, cast(int, layer.out_channels), config)
        follow(layer, "spectral_adapter", adapter)
        adapters.append(adapter)
    if not config.layers:
        check_encoder("spectral_adapter", model, adapters)
    group = ParameterGroup(name="spectral_adapters", parameters=parameters_of(adapters))
    return Adapted(model=model, groups=(group,))


method = Method(
    name="spectral_adapter",
    summary="Residual bottlenecks on the low Fourier modes of each convolution's output.",
    source="After Zhang et al. 2025, F-Adapter, arXiv:2509.23173",
    traits=Traits(
        category="additive",
        batchnorm="frozen",
        needs=frozenset({f"Conv2d|ConvTranspose2d|{SPECTRAL}"}),
    ),
    config=SpectralAdapterConfig,
    grid={"width": (8, 16, 32), "modes": (8, 16, 32)},
    adapt=adapt,
    version=2,
)
