"""Pretraining is a fit like any other: from scratch, of every parameter."""

from torch import nn

from bench.contract import Adapted, Config, Method, ParameterGroup, Traits
from bench.protocol.spec import RULES


def _adapt(model: nn.Module, config: Config) -> Adapted:
    group = ParameterGroup(
        name="all",
        parameters=tuple(model.parameters()),
        weight_decay=RULES.pretraining_weight_decay,
    )
    return Adapted(model=model, groups=(group,))


PRETRAINING = Method(
    name="foundation",
    summary="Pretraining of the foundation on six datasets.",
    source="Ghosal et al. 2024",
    traits=Traits(category="full", start="scratch", batchnorm="both"),
    adapt=_adapt,
)
