"""Attention layers and blocks of transformers."""

from torch import nn

ATTENTION = frozenset({"MultiheadAttention", "Attention"})
"""Class names of attention layers in torch and in timm."""


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
