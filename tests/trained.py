"""Adapted networks that have been moved as training would move them."""

import torch
from torch import Tensor, nn

from bench.contract import Adapted
from bench.models import delta
from bench.plugins import adaptation, registry


def adapt(name: str, model: nn.Module, **options: object) -> Adapted:
    method = registry.load().get(name).method
    return adaptation.adapt(method, model, method.config(**options))


def shaken(adapted: Adapted, seed: int) -> dict[str, Tensor]:
    """A delta as training would leave it; the adapted network is moved."""
    before = {name: value.clone() for name, value in adapted.model.state_dict().items()}
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for group in adapted.groups:
            for parameter in group.parameters:
                parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    return delta.extract(adapted.model, before)
