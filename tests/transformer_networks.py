"""Small transformers and MetaFormers to adapt, with layers of timm and torch."""

import copy

import torch
from timm.models.metaformer import Attention, MetaFormerStage, SepConv
from torch import Tensor, nn

from bench.contract import Adapted
from bench.plugins import adaptation, registry

WIDTH, HIDDEN, HEADS, DEPTH = 8, 32, 2, 3


MAPS, TOKENS = 8, 32  # widths of the two stages of the MetaFormer


def vit() -> nn.Module:
    """Patches, three blocks, a head: (n, 5, 8, 8) → (n, 3)."""
    from timm.models.vision_transformer import VisionTransformer

    torch.manual_seed(0)
    return VisionTransformer(
        img_size=8, patch_size=4, in_chans=5, num_classes=3,
        embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS,
    ).eval()  # fmt: skip


class MetaFormer(nn.Module):
    """A stage of two separable convolutions on maps, a stage of two attentions on tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(5, MAPS, 3, 2, 1)
        self.maps = MetaFormerStage(MAPS, MAPS, depth=2, token_mixer=SepConv)
        self.tokens = MetaFormerStage(
            MAPS, TOKENS, depth=2, token_mixer=Attention, norm_layer=nn.LayerNorm
        )
        self.head = nn.Sequential(nn.Conv2d(TOKENS, 4, 3, 1, 1), nn.GELU())

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.tokens(self.maps(self.stem(x))))
        return y


def metaformer() -> nn.Module:
    torch.manual_seed(0)
    return MetaFormer().eval()


class TorchBlocks(nn.Module):
    """Blocks of torch, whose attention keeps its projection as a bare tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                WIDTH, HEADS, HIDDEN, dropout=0.0, batch_first=True, norm_first=True
            )
            for _ in range(DEPTH)
        )

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


def torch_blocks() -> nn.Module:
    torch.manual_seed(0)
    return TorchBlocks().eval()


def image() -> Tensor:
    return torch.randn(2, 5, 8, 8, generator=torch.Generator().manual_seed(5))


def sequence() -> Tensor:
    return torch.randn(2, 6, WIDTH, generator=torch.Generator().manual_seed(5))


def adapt(name: str, model: nn.Module, **options: object) -> Adapted:
    method = registry.load().get(name).method
    return adaptation.adapt(method, copy.deepcopy(model), method.config(**options))


def trainable(adapted: Adapted) -> dict[str, nn.Parameter]:
    return {name: p for name, p in adapted.model.named_parameters() if p.requires_grad}


def count(adapted: Adapted) -> int:
    return sum(p.numel() for p in trainable(adapted).values())


def shake(adapted: Adapted) -> None:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in trainable(adapted).values():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)


def bottleneck(channels: int, width: int) -> int:
    return 2 * width * channels + width + channels


def low_rank(*layers: tuple[int, int], rank: int) -> int:
    """Of layers with (inputs · kernel, outputs)."""
    return sum(rank * (inputs + outputs) for inputs, outputs in layers)
