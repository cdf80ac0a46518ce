"""Bias tuning: the biases of convolutions and linear layers only, not those of normalisation.

Cai et al. 2020, TinyTL, arXiv:2007.11622, who tune biases because their gradient needs no stored
activations; their lite residual modules are not part of it. No hyper-parameters. 4,321 parameters
on InversionNet. BatchNorm is frozen in evaluation mode: normalised by the batch's own mean, a
convolution's bias would have no effect and no gradient.
"""

from torch import nn

from bench.contract import Adapted, Config, ConfigError, Method, ParameterGroup, Traits
from methods._projections import weights


def adapt(model: nn.Module, config: Config) -> Adapted:
    """Train the bias of every convolution and linear layer, attention's projections included."""
    found = (weight.bias for weight in weights(model).values())
    biases = tuple(dict.fromkeys(bias for bias in found if bias is not None))
    if not biases:
        raise ConfigError("The network's convolutions and linear layers have no biases to train.")
    group = ParameterGroup(name="biases", parameters=biases)
    return Adapted(model=model, groups=(group,), merge=lambda: model)


method = Method(
    name="bias",
    summary="The biases of convolutions and linear layers.",
    source="Cai et al. 2020, TinyTL, arXiv:2007.11622",
    traits=Traits(category="selective", batchnorm="frozen", mergeable=True),
    adapt=adapt,
    version=2,
)
