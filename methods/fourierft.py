"""FourierFT: a few trained Fourier coefficients of every weight's change.

Gao et al. 2024, Parameter-Efficient Fine-Tuning with Discrete Fourier Transform,
arXiv:2405.03003, equations 2 to 4: W + scale · Re(IDFT₂(F)), F zero but for n real coefficients
at random places, which stay where they are. Scale 300 is the authors' for vision transformers, for
which they take 3,000 coefficients and more; n = 1000 is their number for language models.
min(n, weights) parameters a layer; 24,288 on InversionNet, whose last layer has 288 weights.

Here all layers draw their own places (in the paper layers of one shape share them), and the
coefficients start at zero instead of as random normal numbers, so the start is the foundation. On
(transposed) convolutions the transform is that of the matrix (out, in · kernel). Places are not
part of a delta: the seed of the run draws them again. BatchNorm is frozen.
"""

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from bench.contract import Adapted, Method, Traits
from methods._projections import weights
from methods._weights import LayersConfig, WeightUpdate, update_weights


class FourierFTConfig(LayersConfig):
    """The authors' scale for vision transformers, and their number for language models."""

    coefficients: PositiveInt = 1000
    """Trained coefficients of each layer; at most as many as it has weights."""
    scale: PositiveFloat = 300.0


class SpectralUpdate(WeightUpdate):
    """W ↦ W + scale · Re(IDFT₂(F)), F sparse."""

    def __init__(self, layer: nn.Module, coefficients: int, scale: float) -> None:
        super().__init__(layer)
        self.scale = scale
        weight = layer.get_parameter("weight")
        places = self.geometry.outputs * self.geometry.columns
        count = min(coefficients, places)
        self.register_buffer("places", torch.randperm(places, device=weight.device)[:count])
        """Where the coefficients are in the flattened spectrum (outputs, columns)."""
        self.spectrum = nn.Parameter(weight.new_zeros(count))

    def change(self, matrix: Tensor) -> Tensor:
        zeros = torch.zeros_like(matrix).flatten()
        spectrum = zeros.scatter(0, self.get_buffer("places"), self.spectrum).view_as(matrix)
        change: Tensor = torch.fft.ifft2(spectrum).real
        return self.scale * change


def adapt(model: nn.Module, config: FourierFTConfig) -> Adapted:
    """Put a sparse spectrum on the weight of every chosen layer."""
    chosen = weights(model, config.layers)
    return update_weights(
        model,
        chosen.values(),
        lambda layer: SpectralUpdate(layer, config.coefficients, config.scale),
        "fourierft",
    )


method = Method(
    name="fourierft",
    summary="A few Fourier coefficients of every weight's change, at random places.",
    source="Gao et al. 2024, FourierFT, arXiv:2405.03003",
    traits=Traits(category="additive", batchnorm="frozen", mergeable=True),
    config=FourierFTConfig,
    grid={"coefficients": (300, 1000, 3000), "scale": (100.0, 300.0)},
    adapt=adapt,
    version=2,
)
