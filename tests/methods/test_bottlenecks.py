"""Bottlenecks with a ReLU: at the start of training a gradient passes each of them."""

import matrix
import pytest
import torch
from torch import Tensor, nn

from bench import conformance
from bench.conformance import toy_networks
from bench.contract import Adapted
from bench.models import backbones
from bench.plugins import adaptation, registry
from methods.conv_adapter import ConvAdapter

METHODS = ("adapter", "adaptformer", "conv_adapter")


def adapt(name: str, network: nn.Module) -> Adapted:
    method = registry.load().get(name).method
    return adaptation.adapt(method, toy_networks.copy_of(network), method.config())


def dead(adapted: Adapted, x: Tensor) -> list[str]:
    """Names of the ReLUs in what the method added that are zero everywhere; there must be some."""
    trained = {p for group in adapted.groups for p in group.parameters}
    found: dict[str, bool] = {}

    def note(name: str) -> None:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            found[name] = not bool((output > 0).any())

        adapted.model.get_submodule(name).register_forward_hook(hook)

    for name, module in adapted.model.named_modules():
        own = set(module.parameters())
        if own and own <= trained:
            for child, inner in module.named_children():
                if isinstance(inner, nn.ReLU):
                    note(f"{name}.{child}")
    with torch.no_grad():
        adapted.model.eval()(x)
    assert found
    return [name for name, is_dead in found.items() if is_dead]


@pytest.mark.slow
@pytest.mark.parametrize(
    "backbone", matrix.part(backbones.names(), "inversionnet_quarter", "hybrid_vit")
)
def test_no_bottleneck_is_dead_on_the_networks_that_ship(backbone: str) -> None:
    network = conformance.network_of(backbones.get(backbone).backbone)
    torch.manual_seed(1)
    x = toy_networks.records(2)
    for name in METHODS:
        for seed in range(3):
            torch.manual_seed(seed)
            assert not dead(adapt(name, network), x), (name, seed)


def test_conv_adapters_stand_behind_norms_and_activations_not_behind_a_readout() -> None:
    def block(*layers: nn.Module) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1), *layers)

    network = nn.Sequential(
        block(nn.ReLU()), block(nn.BatchNorm2d(8)), block(nn.ReLU(), nn.Conv2d(8, 1, 1))
    )
    model = adapt("conv_adapter", network).model
    adapted = [name for name, m in model.named_modules() if isinstance(m, ConvAdapter)]
    assert adapted == ["0.2", "1.2"]
