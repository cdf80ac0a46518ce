"""BitFit: all biases, of convolutions and of normalisation layers, and nothing else.

Ben Zaken et al. 2021, BitFit, arXiv:2106.10199. No hyper-parameters. 8,642 parameters on
InversionNet: 4,321 biases of convolutions and 4,321 BatchNorm shifts. BatchNorm runs in evaluation
mode with its shift trained (policy ``affine``): normalised by the batch's own mean, a convolution's
bias would have no effect and no gradient.
"""

from torch import nn

from bench.contract import Adapted, Config, ConfigError, Method, ParameterGroup, Traits


def adapt(model: nn.Module, config: Config) -> Adapted:
    """Train every bias of the network."""
    biases = tuple(p for name, p in model.named_parameters() if name.endswith("bias"))
    if not biases:
        raise ConfigError("The network has no biases for 'bitfit' to train.")
    group = ParameterGroup(name="biases", parameters=biases)
    return Adapted(model=model, groups=(group,), merge=lambda: model)


method = Method(
    name="bitfit",
    summary="All biases: of convolutions and of normalisation layers.",
    source="Ben Zaken et al. 2021, BitFit, arXiv:2106.10199",
    traits=Traits(category="selective", batchnorm="affine", mergeable=True),
    adapt=adapt,
)
