"""Head tuning: the network's last part alone, on fixed features.

The usual linear probe (for instance Kornblith et al. 2018, Do Better ImageNet Models Transfer
Better?, arXiv:1805.08974); the head is the last part with parameters, on InversionNet the block
`deconv6` (convolution 32 → 1, BatchNorm, Tanh): 291 parameters. No other hyper-parameters.
BatchNorm keeps its statistics everywhere (policy ``affine``), so that the features are fixed and
the bias of the head's convolution has a gradient.
"""

from torch import nn

from bench.contract import Adapted, Config, Method, ParameterGroup, Traits
from methods._surgery import parameters_of, parts


def adapt(model: nn.Module, config: Config) -> Adapted:
    """Train the last part of the network."""
    *_, last = parts(model).values()
    group = ParameterGroup(name="head", parameters=parameters_of([last]))
    return Adapted(model=model, groups=(group,), merge=lambda: model)


method = Method(
    name="head",
    summary="The last block alone.",
    source="Kornblith et al. 2018, arXiv:1805.08974",
    traits=Traits(category="selective", batchnorm="affine", mergeable=True),
    adapt=adapt,
)
