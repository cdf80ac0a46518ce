"""The same network trained from scratch on the target dataset alone."""

from torch import nn

from bench.contract import Adapted, Config, Method, Traits
from methods._surgery import everything


def adapt(model: nn.Module, config: Config) -> Adapted:
    """Train every parameter of the fresh network."""
    return Adapted(model=model, groups=(everything(model),), merge=lambda: model)


method = Method(
    name="baseline",
    summary="Training from scratch on the target dataset, without a foundation.",
    source="Deng et al. 2022, OpenFWI, arXiv:2111.02926",
    traits=Traits(category="full", start="scratch", batchnorm="both", mergeable=True),
    adapt=adapt,
)
