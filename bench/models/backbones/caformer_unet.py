"""CAFormer-S18 of timm as the encoder of a U-Net.

Yu et al. 2022, MetaFormer Baselines for Vision (arXiv:2210.13452): two stages of separable
convolutions, two of attention. Ronneberger et al. 2015 (arXiv:1505.04597): a decoder with skip
connections. Stem and decoder are ours. Weights are random: nothing is downloaded. There is no
BatchNorm, so no policy for it can come between the methods.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.contract import OUTPUT_SHAPE, Backbone

_STEM = 32
_SQUARE = (72, 72)
"""Time and receivers behind the stem; the encoder's four stages make 18, 9, 5 and 3 of them."""


class Up(nn.Sequential):
    """A map from below resized to its skip connection, both through one convolution of 3 × 3."""

    def __init__(self, below: int, skip: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(below + skip, skip, 3, 1, 1)
        self.activation = nn.GELU()

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:  # type: ignore[override]  # two maps
        x = torch.cat((_resize(x, tuple(skip.shape[2:])), skip), dim=1)
        for layer in self:  # also those that a method adds
            x = layer(x)
        return x


class CAFormerUNet(nn.Module):
    """Scaled records (n, 5 shots, 1000 time steps, 70 receivers) → scaled maps (n, 1, 70 z, 70 x).

    The stem thins time to 72 steps; its 32 × 72 × 72 are the encoder's input and the last skip
    connection. The decoder upsamples bilinearly, to 18 × 18 from stage to stage and then to the
    stem's size; a convolution makes the map at 70 × 70.
    """

    def __init__(self) -> None:
        import timm

        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(5, _STEM, (15, 1), (7, 1), (7, 0)),
            nn.GELU(),
            nn.Conv2d(_STEM, _STEM, 3, (2, 1), 1),
            nn.GELU(),
        )
        self.encoder: nn.Module = timm.create_model(
            "caformer_s18", pretrained=False, features_only=True, in_chans=_STEM
        )
        stages = (_STEM, 64, 128, 320, 512)
        self.decoder = nn.ModuleList(
            Up(below, skip) for below, skip in zip(stages[:0:-1], stages[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(_STEM, 1, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        stem = _resize(self.stem(x), _SQUARE)
        x, *skips = reversed([stem, *self.encoder(stem)])
        for up, skip in zip(self.decoder, skips, strict=True):
            x = up(x, skip)
        return torch.tanh(self.head(_resize(x, OUTPUT_SHAPE[1:])))


def _resize(x: Tensor, size: tuple[int, ...]) -> Tensor:
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


def own_name(name: str) -> str:
    """A tensor of timm's whole `caformer_s18` in the encoder, whose stages are flat modules."""
    return "encoder." + name.replace("stages.", "stages_", 1)


backbone = Backbone(
    name="caformer_unet",
    summary="CAFormer-S18 of timm with a U-Net decoder, no BatchNorm; 26 M parameters.",
    source="After Yu et al. 2022, MetaFormer Baselines, arXiv:2210.13452; encoder of timm",
    build=CAFormerUNet,
    own_name=own_name,
)
