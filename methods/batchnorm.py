"""BatchNorm tuning: scale and shift of every BatchNorm layer.

Frankle et al. 2020, Training BatchNorm and Only BatchNorm, arXiv:2003.00152, here from pretrained
weights. No hyper-parameters. 8,642 parameters on InversionNet. The statistics stay those of the
foundation (policy ``affine``): training them as well is `batchnorm_stats`' question, and keeping
both apart tells which of the two helps.
"""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench.contract import Adapted, Config, Method, ParameterGroup, Traits
from methods._surgery import parameters_of, select


def adapt(model: nn.Module, config: Config) -> Adapted:
    """Train scale and shift of every BatchNorm layer."""
    affine = parameters_of(select(model, (_BatchNorm,)).values())
    group = ParameterGroup(name="affine", parameters=affine)
    return Adapted(model=model, groups=(group,), merge=lambda: model)


method = Method(
    name="batchnorm",
    summary="Scale and shift of the BatchNorm layers.",
    source="Frankle et al. 2020, Training BatchNorm and Only BatchNorm, arXiv:2003.00152",
    traits=Traits(
        category="selective",
        batchnorm="affine",
        mergeable=True,
        needs=frozenset({"BatchNorm1d|BatchNorm2d|BatchNorm3d"}),
    ),
    adapt=adapt,
)
