"""No adaptation: the untouched foundation, which every adaptation has to beat.

Nothing is trained and nothing changes, so that its scores on a dataset are those of the foundation,
whatever dataset it was asked to adapt to.
"""

from torch import nn

from bench.contract import Adapted, Config, Method, Traits


def adapt(model: nn.Module, config: Config) -> Adapted:
    """Leave the network as it is."""
    return Adapted(model=model, groups=(), merge=lambda: model)


method = Method(
    name="none",
    summary="The foundation as it is: nothing is trained.",
    source="The level to beat",
    traits=Traits(category="full", batchnorm="frozen", mergeable=True, trains=False),
    adapt=adapt,
)
