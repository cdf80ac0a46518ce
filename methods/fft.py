"""Full fine-tuning: every parameter of the foundation goes on training."""

from torch import nn

from bench.contract import Adapted, Config, Method, Traits
from methods._surgery import everything


def adapt(model: nn.Module, config: Config) -> Adapted:
    """Train every parameter of the foundation."""
    return Adapted(model=model, groups=(everything(model),), merge=lambda: model)


method = Method(
    name="fft",
    summary="Full fine-tuning of the foundation.",
    source="Ghosal et al. 2024, Parameter Efficient Fine-Tuning for DL-Based FWI (FFT-PFM)",
    traits=Traits(category="full", batchnorm="both", mergeable=True),
    adapt=adapt,
)
