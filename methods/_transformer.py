"""The blocks of transformers, with their attention and MLP."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from methods._surgery import CONVOLUTIONS, WEIGHT_LAYERS, sequences

ATTENTION = frozenset({"MultiheadAttention", "Attention"})
"""Class names of attention layers in torch and in timm."""


@dataclass(frozen=True, kw_only=True)
class TransformerBlock:
    """A block of a transformer or MetaFormer: tokens are mixed, then each goes through an MLP."""

    module: nn.Module
    mixers: tuple[nn.Module, ...]
    """Attention, or what stands in its place, such as a separable convolution; two in a decoder."""
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
        """The MLP's tokens come as maps (n, width, z, x), not as (n, …, width)."""
        return isinstance(self.first, nn.Conv2d)

    def gives_maps(self, mixer: nn.Module) -> bool:
        """The same of what a mixer gives: a bare convolution may stand before linear layers."""
        return self.maps or isinstance(mixer, CONVOLUTIONS)


def blocks(model: nn.Module) -> list[TransformerBlock]:
    """The blocks of a network, in forward order; empty for one that has none.

    An MLP is two layers in a row, width → hidden → width, linear or 1 × 1 convolutions, hidden not
    below width. They are the only layers of their module (timm), or stand in the block itself
    (torch). The mixer is the last part of the block before them that holds layers and no MLP, and
    attention before that is one, too; in want of them, a convolution that keeps the width
    (ConvNeXt).
    """
    return [block for module in model.modules() if (block := _block(module)) is not None]


def convolutional_blocks(model: nn.Module) -> dict[str, nn.Sequential]:
    """The sequences that directly hold a convolution, outside all transformer blocks, by name."""
    inside = {module for block in blocks(model) for module in block.module.modules()}
    return {name: found for name, found in sequences(model).items() if found not in inside}


def _block(module: nn.Module) -> TransformerBlock | None:
    children = list(module.children())
    for place, child in enumerate(children):
        if isinstance(child, WEIGHT_LAYERS):
            pair = next((p for p in _mlps(module) if p[0] is child), None)
        else:
            pair = next(_mlps(child), None) if len(_layers(child)) == 2 else None
        if pair is None:
            continue
        first, last = pair
        mixers = _mixers(children[:place], _sizes(first)[0])
        if mixers:
            return TransformerBlock(module=module, mixers=mixers, first=first, last=last)
    return None


def _mixers(before: list[nn.Module], width: int) -> tuple[nn.Module, ...]:
    """The mixers among the parts of a block before its MLP, which takes this many channels."""
    found = [child for child in before if _mixes(child)]
    if found:
        return tuple(child for child in found if is_attention(child) or child is found[-1])
    bare = [child for child in before if _convolves(child, width)]
    return tuple(bare[-1:])


def _convolves(layer: nn.Module, width: int) -> bool:
    """Whether a layer is a convolution over places that keeps this number of channels."""
    if not isinstance(layer, nn.Conv2d) or set(layer.kernel_size) == {1}:
        return False
    return layer.in_channels == layer.out_channels == width


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
