"""BatchNorm statistics only: running means and variances of the target data, nothing trained.

Li et al. 2016, Revisiting Batch Normalization for Practical Domain Adaptation (AdaBN),
arXiv:1603.04779. There are no parameter groups, so nothing is trained; the harness computes the
statistics anew, as the mean over the training subset of the target, which is the cited method. The
policy ``statistics`` keeps scale and shift as they are. No hyper-parameters, zero trainable
parameters.
"""

from torch import nn

from bench.contract import Adapted, Config, Method, Traits


def adapt(model: nn.Module, config: Config) -> Adapted:
    """Leave the network as it is; its BatchNorm policy does the rest."""
    return Adapted(model=model, groups=(), merge=lambda: model)


method = Method(
    name="batchnorm_stats",
    summary="Running statistics of the BatchNorm layers; no trainable parameter.",
    source="Li et al. 2016, AdaBN, arXiv:1603.04779",
    traits=Traits(
        category="selective",
        batchnorm="statistics",
        mergeable=True,
        needs=frozenset({"BatchNorm1d|BatchNorm2d|BatchNorm3d"}),
    ),
    adapt=adapt,
    version=2,
)
