"""The blocks of transformers, with their attention and MLP."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from methods._surgery import WEIGHT_LAYERS, activated_convolutions, sequences

ATTENTION = frozenset({"MultiheadAttention", "Attention"})
"""Class names of attention layers in torch and in timm."""


@dataclass(frozen=True, kw_only=True)
class TransformerBlock:
    """A block of a transformer or MetaFormer: tokens are mixed, then each goes through an MLP."""

    module: nn.Module
    mixer: nn.Module
    """Attention, or what stands in its place, such as a separable convolution."""
    first: nn.Module
    """First layer of the MLP, width → hidden: linear, or a 1 × 1 convolution."""
    last: nn.Module
    """Last layer of the MLP, hidden → width."""

    @property
    def width(self) -> int:
        """Channels of a token."""
        return _sizes(self.first)[0]

    @property
    def maps(self) -> bool:
        """Tokens come as maps (n, width, z, x), not as (n, …, width)."""
        return isinstance(self.first, nn.Conv2d)


def blocks(model: nn.Module) -> list[TransformerBlock]:
    """The blocks of a network, in forward order; empty for one that has none.

    An MLP is two layers in a row, width → hidden → width, linear or 1 × 1 convolutions, hidden not
    below width. They are the only layers of their module (timm), or stand in the block itself
    (torch). The mixer is the last part of the block before them that holds layers and no MLP.
    """
    return [block for module in model.modules() if (block := _block(module)) is not None]


def convolutional_blocks(model: nn.Module) -> dict[str, nn.Module]:
    """Convolutions with what normalises or activates their maps, outside all transformer blocks.

    By name, the sequences first, and then other modules that hold the two.
    """
    inside = {module for block in blocks(model) for module in block.module.modules()}
    found = sequences(model) | activated_convolutions(model)
    return {name: block for name, block in found.items() if block not in inside}


def _block(module: nn.Module) -> TransformerBlock | None:
    children = list(module.children())
    for place, child in enumerate(children):
        if isinstance(child, WEIGHT_LAYERS):
            pair = next((p for p in _mlps(module) if p[0] is child), None)
        else:
            pair = next(_mlps(child), None) if len(_layers(child)) == 2 else None
        mixers = [c for c in children[:place] if _mixes(c)]
        if pair and mixers:
            return TransformerBlock(module=module, mixer=mixers[-1], first=pair[0], last=pair[1])
    return None


def _mixes(module: nn.Module) -> bool:
    """Whether a part of a block may be its mixer."""
    inner = list(module.modules())[1:]
    holds_layers = any(isinstance(m, WEIGHT_LAYERS) for m in inner)
    return holds_layers and not any(any(_mlps(m)) for m in (module, *inner))


def _mlps(module: nn.Module) -> Iterator[tuple[nn.Module, nn.Module]]:
    """Pairs of a module's own layers that are an MLP."""
    for first, last in pairwise(_layers(module)):
        if _pointwise(first) and _pointwise(last):
            width, hidden = _sizes(first)
            if _sizes(last) == (hidden, width) and hidden >= width:
                yield first, last


def _layers(module: nn.Module) -> list[nn.Module]:
    return [child for child in module.children() if isinstance(child, WEIGHT_LAYERS)]


def _pointwise(layer: nn.Module) -> bool:
    if isinstance(layer, nn.Conv2d):
        return set(layer.kernel_size + layer.stride) == {1} and layer.groups == 1
    return isinstance(layer, nn.Linear)


def _sizes(layer: nn.Module) -> tuple[int, int]:
    """Channels in and out of a linear layer or an ungrouped convolution."""
    outputs, inputs, *_ = layer.get_parameter("weight").shape
    return inputs, outputs


def attention_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Attention layers by module name, in forward order."""
    return {name: m for name, m in model.named_modules() if is_attention(m)}


def is_attention(module: nn.Module) -> bool:
    """Whether a module is an attention layer, or a subclass of one."""
    return any(kind.__name__ in ATTENTION for kind in type(module).__mro__)


def attention_blocks(model: nn.Module) -> dict[str, nn.Module]:
    """The modules that directly hold an attention layer: a transformer's blocks."""
    return {
        name: module
        for name, module in model.named_modules()
        if any(is_attention(child) for child in module.children())
    }
