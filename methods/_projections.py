"""Weights by name, those of attention's projections included where they are fused or bare."""

from collections.abc import Iterable
from dataclasses import replace

from torch import nn

from bench.contract import ConfigError
from methods._surgery import PROJECTIONS, WEIGHT_LAYERS, Weight, choose
from methods._transformer import attention_layers

ROWS_IN_ORDER = frozenset({"timm.layers.attention", "timm.models.metaformer"})
"""Modules of timm whose attention makes queries, keys and values of consecutive rows of `qkv`."""


def weights(model: nn.Module, names: Iterable[str] = ()) -> dict[str, Weight]:
    """Weights of convolutions and linear layers by name, in forward order; `names` limits them.

    Those of torch's attention layers count, too: ``in_proj``. A fused projection of queries, keys
    and values (also timm's ``qkv``) answers to its own name, and in its place to ``q``, ``k`` and
    ``v``: ``*.q,*.v`` picks these rows in every attention layer. Where a name matches a fused
    projection as well as its parts, it is taken whole. Raises `ConfigError` for a name that
    matches nothing, and when there are no such layers.
    """
    attention = attention_layers(model)
    found: dict[str, Weight] = {}
    parts: dict[str, str] = {}
    for name, module in model.named_modules():
        above = name.rpartition(".")[0]
        if isinstance(module, WEIGHT_LAYERS):
            found[name] = Weight(layer=module)
        fused = None
        if isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None:
            fused, above = f"{name}.in_proj".lstrip("."), name
            found[fused] = Weight(layer=module, tensor="in_proj_weight", fused=True)
        elif isinstance(module, nn.MultiheadAttention):
            for part in PROJECTIONS:
                found[f"{name}.{part}".lstrip(".")] = Weight(
                    layer=module, tensor=f"{part}_proj_weight"
                )
        elif isinstance(module, nn.Linear) and _is_fused(name, attention.get(above)):
            fused = name
            found[name] = Weight(layer=module, fused=True)
        if fused is not None:
            for index, part in enumerate(PROJECTIONS):
                key = f"{above}.{part}".lstrip(".")
                found[key] = replace(found[fused], part=index)
                parts[key] = fused
    if not found:
        raise ConfigError("The network has no convolution and no linear layer to adapt.")
    names = tuple(names)
    chosen = choose(found, names) if names else found.keys() - parts.keys()
    return {n: w for n, w in found.items() if n in chosen and parts.get(n) not in chosen}


def _is_fused(name: str, attention: nn.Module | None) -> bool:
    """Whether a linear layer is timm's fused projection, whose rows are queries, keys, values.

    Other attention may hold them head by head, as that of timm's TinyViT does.
    """
    kinds = {kind.__module__ for kind in type(attention).__mro__}
    return name.rpartition(".")[2] == "qkv" and not kinds.isdisjoint(ROWS_IN_ORDER)
