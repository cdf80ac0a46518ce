"""LayerNorm tuning: scale and shift of every LayerNorm.

Zhao et al. 2023, Tuning LayerNorm in Attention, arXiv:2312.11420. No hyper-parameters. It needs a
network with LayerNorm, that is, a transformer. Any BatchNorm is frozen with the rest.
"""

from torch import nn

from bench.contract import Adapted, Config, Method, ParameterGroup, Traits
from methods._surgery import parameters_of, select


def adapt(model: nn.Module, config: Config) -> Adapted:
    """Train scale and shift of every LayerNorm."""
    parameters = parameters_of(select(model, (nn.LayerNorm,)).values())
    group = ParameterGroup(name="layernorm", parameters=parameters)
    return Adapted(model=model, groups=(group,), merge=lambda: model)


method = Method(
    name="layernorm",
    summary="Scale and shift of the LayerNorm layers of a transformer.",
    source="Zhao et al. 2023, Tuning LayerNorm in Attention, arXiv:2312.11420",
    traits=Traits(
        category="selective",
        batchnorm="frozen",
        mergeable=True,
        needs=frozenset({"LayerNorm"}),
    ),
    adapt=adapt,
)
