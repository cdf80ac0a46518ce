"""Attention tuning: all parameters of the attention layers, nothing else.

Touvron et al. 2022, Three Things Everyone Should Know about Vision Transformers, arXiv:2203.09795.
No hyper-parameters. It needs layers of the classes `MultiheadAttention` (torch) or `Attention`
(timm). Any BatchNorm is frozen with the rest.
"""

from torch import nn

from bench.contract import Adapted, Config, Method, ParameterGroup, Traits
from methods._surgery import parameters_of
from methods._transformer import ATTENTION, attention_layers


def adapt(model: nn.Module, config: Config) -> Adapted:
    """Train the attention layers."""
    parameters = parameters_of(attention_layers(model).values())
    group = ParameterGroup(name="attention", parameters=parameters)
    return Adapted(model=model, groups=(group,), merge=lambda: model)


method = Method(
    name="attention",
    summary="The attention layers of a transformer.",
    source="Touvron et al. 2022, Three Things about Vision Transformers, arXiv:2203.09795",
    traits=Traits(
        category="selective",
        batchnorm="frozen",
        mergeable=True,
        needs=frozenset({"|".join(sorted(ATTENTION))}),
    ),
    adapt=adapt,
)
