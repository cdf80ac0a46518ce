"""Tiny networks (n, 5, 1000, 70) → (n, 1, 70, 70) to try a method on in milliseconds."""

import copy

import torch
from torch import Tensor, nn

from bench.contract import INPUT_SHAPE, OUTPUT_SHAPE
from bench.models.backbones.inversionnet import InversionNet

_NARROWER = 8


def convolutional() -> nn.Module:
    """InversionNet with an eighth of its channels; names, kernels and strides as they are."""
    return settle(InversionNet(narrower=_NARROWER))


class Transformer(nn.Module):
    """Patches of the records, two transformer blocks, one linear map to the whole output."""

    def __init__(self) -> None:
        super().__init__()
        width, patch = 16, (100, 10)
        self.patches = nn.Conv2d(INPUT_SHAPE[0], width, patch, patch)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, 2, 2 * width, dropout=0.0, batch_first=True, norm_first=True
            )
            for _ in range(2)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, torch.Size(OUTPUT_SHAPE).numel())

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens)
        return torch.tanh(self.head(self.norm(tokens).mean(dim=1))).view(-1, *OUTPUT_SHAPE)


def transformer() -> nn.Module:
    """A transformer with torch's own attention and LayerNorm layers."""
    return settle(Transformer())


def copy_of(network: nn.Module) -> nn.Module:
    """A copy of a network, in evaluation mode."""
    return copy.deepcopy(network).eval()


def records(samples: int) -> Tensor:
    """Smooth random records in [-1, 1], (n, 5, 1000, 70), no two alike in their long waves."""
    coarse = torch.randn(samples, INPUT_SHAPE[0], 16, 5)
    return torch.tanh(nn.functional.interpolate(coarse, INPUT_SHAPE[1:], mode="bilinear"))


def settle(network: nn.Module) -> nn.Module:
    """Give normalisation layers true statistics, and scales and shifts of their own.

    A deep random network with BatchNorm multiplies every rounding error; shifts of 1 keep most of
    the hidden units in the linear part of their activation, and the errors small.
    """
    batchnorms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.LayerNorm) and module.weight is not None:
            nn.init.uniform_(module.weight, 0.7, 1.3)
            if module.bias is not None:
                nn.init.normal_(module.bias, 1.0 if module in batchnorms[:-1] else 0.0, 0.1)
    momenta = [module.momentum for module in batchnorms]
    for module in batchnorms:
        module.momentum = None  # the plain mean over all batches
    network.train()
    with torch.no_grad():
        for _ in range(4 if batchnorms else 0):
            network(records(8))
    for module, momentum in zip(batchnorms, momenta, strict=True):
        module.momentum = momentum
    return network.eval()
