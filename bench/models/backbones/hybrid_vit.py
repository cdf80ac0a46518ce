"""A small vision transformer behind a convolutional stem.

Dosovitskiy et al. 2021 (arXiv:2010.11929) call a transformer on a convolutional network's features
a hybrid; Xiao et al. 2021 (arXiv:2106.14881) show that a stem of a few strided convolutions is
enough for it to train well. The pixel shuffle is that of Shi et al. 2016 (arXiv:1609.05158). Blocks
are timm's, with LayerNorm before attention and MLP; the sizes are ours. No BatchNorm, no dropout.
"""

import torch
from torch import Tensor, nn

from bench.contract import Backbone

_CHANNELS = 64
_PATCH = (5, 7)
_TOKENS = 10 * 10
_WIDTH, _DEPTH, _HEADS = 192, 6, 3
_CELLS = 7
"""Cells of the map along each axis that one token makes."""
_REFINED = 32
"""Channels of the map before the refining convolution."""


class HybridViT(nn.Module):
    """Scaled records (n, 5 shots, 1000 time steps, 70 receivers) → scaled maps (n, 1, 70 z, 70 x).

    The stem keeps the receivers and thins time to a twentieth: 64 × 50 × 70. Patches of 5 × 7 make
    10 × 10 tokens of width 192; six blocks of three heads follow. Each token becomes 32 × 7 × 7
    cells, which a convolution of 3 × 3 refines into the map.
    """

    def __init__(self) -> None:
        from timm.models.vision_transformer import Block

        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(5, 32, (15, 1), (5, 1), (5, 0)),
            nn.GELU(),
            nn.Conv2d(32, _CHANNELS, (3, 3), (2, 1), 1),
            nn.GELU(),
            nn.Conv2d(_CHANNELS, _CHANNELS, (3, 3), (2, 1), 1),
            nn.GELU(),
        )
        self.patches = nn.Conv2d(_CHANNELS, _WIDTH, _PATCH, _PATCH)
        self.positions = nn.Parameter(torch.zeros(1, _TOKENS, _WIDTH))
        self.blocks = nn.Sequential(
            *(Block(_WIDTH, _HEADS, qkv_bias=True, norm_layer=nn.LayerNorm) for _ in range(_DEPTH))
        )
        self.norm = nn.LayerNorm(_WIDTH)
        self.expand = nn.Linear(_WIDTH, _REFINED * _CELLS**2)
        self.shuffle = nn.PixelShuffle(_CELLS)
        self.refine = nn.Sequential(
            nn.GELU(),
            nn.Conv2d(_REFINED, _REFINED, 3, 1, 1),
            nn.GELU(),
            nn.Conv2d(_REFINED, 1, 3, 1, 1),
            nn.Tanh(),
        )
        self._initialise()

    def _initialise(self) -> None:
        """As vision transformers are: normal, σ 0.02, biases 0; convolutions after He et al.

        Positions are drawn with σ 0.5 instead: a map depends on place, and tokens of a seismic
        record are so alike that with σ 0.02 training hardly leaves the mean map at first.
        """
        nn.init.normal_(self.positions, std=0.5)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
            elif isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if isinstance(module, nn.Linear | nn.Conv2d) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        grid = self.patches(self.stem(x))
        tokens = grid.flatten(2).transpose(1, 2) + self.positions
        tokens = self.expand(self.norm(self.blocks(tokens)))
        cells = self.shuffle(tokens.transpose(1, 2).unflatten(2, grid.shape[2:]))
        out: Tensor = self.refine(cells)
        return out


backbone = Backbone(
    name="hybrid_vit",
    summary="Convolutional stem and a vision transformer of 100 tokens; 3.5 M parameters.",
    source="After Dosovitskiy et al. 2021, arXiv:2010.11929; Xiao et al. 2021, arXiv:2106.14881",
    build=HybridViT,
)
