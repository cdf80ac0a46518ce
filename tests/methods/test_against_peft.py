"""Methods on a linear layer beside the PEFT library: the same numbers in, the same map out."""

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.contract import Adapted
from bench.plugins import adaptation, registry

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    peft = pytest.importorskip("peft")

IN, OUT = 12, 20


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(IN, OUT)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)
        return y


def theirs(network: nn.Module, config: Any) -> nn.Module:
    """A copy of the network with one of the library's tuners on its layer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return peft.get_peft_model(copy.deepcopy(network), config).base_model.model


def ours(network: nn.Module, name: str, **options: object) -> Adapted:
    method = registry.load().get(name).method
    return adaptation.adapt(method, copy.deepcopy(network), method.config(**options))


def update_of(adapted: Adapted) -> nn.Module:
    return adapted.model.get_submodule("layer.parametrizations.weight.0")


def noise(like: Tensor) -> Tensor:
    return 0.3 * torch.randn(like.shape)


def set_both(pairs: list[tuple[Tensor, Tensor]]) -> None:
    """One random value for each pair of parameters, theirs and ours."""
    with torch.no_grad():
        for their, our in pairs:
            value = noise(their)
            their.copy_(value)
            our.copy_(value)


def rslora(network: nn.Module) -> tuple[nn.Module, Adapted]:
    config = peft.LoraConfig(r=4, lora_alpha=6, use_rslora=True, target_modules=["layer"])
    their, our = theirs(network, config), ours(network, "rslora", rank=4, alpha=6.0)
    layer, update = their.layer, update_of(our)
    set_both(
        [(layer.lora_A["default"].weight, update.A), (layer.lora_B["default"].weight, update.B)]
    )
    return their, our


def pissa(network: nn.Module) -> tuple[nn.Module, Adapted]:
    config = peft.LoraConfig(r=4, lora_alpha=4, init_lora_weights="pissa", target_modules=["layer"])
    their, our = theirs(network, config), ours(network, "pissa", rank=4)
    layer, update = their.layer, update_of(our)
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    for k in range(4):  # the same start, up to signs
        for mine, other in ((update.A[k], a[k]), (update.B[:, k], b[:, k])):
            assert min((mine - other).abs().max(), (mine + other).abs().max()) < 1e-5
    set_both([(a, update.A), (b, update.B)])
    return their, our


def vera(network: nn.Module) -> tuple[nn.Module, Adapted]:
    config = peft.VeraConfig(r=5, target_modules=["layer"], projection_prng_key=3)
    their, our = theirs(network, config), ours(network, "vera", rank=5)
    layer, update = their.layer, update_of(our)
    assert torch.equal(layer.vera_lambda_d["default"], update.d)
    set_both(
        [(layer.vera_lambda_d["default"], update.d), (layer.vera_lambda_b["default"], update.b)]
    )
    for name in "AB":
        random = update.projections.get_buffer(name)
        their_random = getattr(layer, f"vera_{name}")["default"]
        assert random.shape == their_random.shape
        bound = (6 / random.shape[1]) ** 0.5  # of the library's uniform numbers
        assert their_random.abs().max() <= bound
        assert 0.8 * bound < random.abs().max() <= bound
        random.copy_(their_random)
    return their, our


def ia3(network: nn.Module) -> tuple[nn.Module, Adapted]:
    config = peft.IA3Config(target_modules=["layer"], feedforward_modules=["layer"])
    their, our = theirs(network, config), ours(network, "ia3")
    vector = their.layer.ia3_l["default"]
    value = noise(vector)
    with torch.no_grad():
        vector.copy_(value)
        update_of(our).scale.copy_(value.flatten())
    return their, our


def loha(network: nn.Module) -> tuple[nn.Module, Adapted]:
    config = peft.LoHaConfig(r=3, alpha=5, target_modules=["layer"])
    their, our = theirs(network, config), ours(network, "loha", rank=3, alpha=5.0)
    layer, update = their.layer, update_of(our)
    names = {"hada_w1_a": "B1", "hada_w1_b": "A1", "hada_w2_a": "B2", "hada_w2_b": "A2"}
    set_both([(getattr(layer, n)["default"], update.get_parameter(m)) for n, m in names.items()])
    return their, our


def lokr(rank: int) -> Callable[[nn.Module], tuple[nn.Module, Adapted]]:
    def both(network: nn.Module) -> tuple[nn.Module, Adapted]:
        config = peft.LoKrConfig(r=rank, alpha=5, target_modules=["layer"])
        their, our = theirs(network, config), ours(network, "lokr", rank=rank, alpha=5.0)
        layer, update = their.layer, update_of(our)
        parts = ("lokr_w2",) if rank == 8 else ("lokr_w2_a", "lokr_w2_b")
        pairs = [(layer.lokr_w1["default"], update.W1)]
        pairs += [(getattr(layer, n)["default"], w) for n, w in zip(parts, update.W2, strict=True)]
        set_both(pairs)
        return their, our

    return both


def oft(network: nn.Module) -> tuple[nn.Module, Adapted]:
    config = peft.OFTConfig(
        r=0, oft_block_size=4, use_cayley_neumann=False, target_modules=["layer"]
    )
    their, our = theirs(network, config), ours(network, "oft", block=4)
    set_both([(their.layer.oft_R["default"].weight, update_of(our).angles)])
    return their, our


def shira(network: nn.Module) -> tuple[nn.Module, Adapted]:
    config = peft.ShiraConfig(r=1, random_seed=3, target_modules=["layer"])
    density = (IN + OUT) / (IN * OUT)
    their, our = theirs(network, config), ours(network, "shira", density=density)
    layer, update = their.layer, update_of(our)
    rows, columns = layer.shira_indices["default"].long()
    update.get_buffer("places").copy_(rows * IN + columns)
    set_both([(layer.shira_weight["default"], update.elements)])
    return their, our


def miss(network: nn.Module) -> tuple[nn.Module, Adapted]:
    config = peft.MissConfig(r=5, target_modules=["layer"])
    their, our = theirs(network, config), ours(network, "miss", rank=5)
    set_both([(their.layer.miss_block["default"], update_of(our).D)])
    return their, our


def fourierft(network: nn.Module) -> tuple[nn.Module, Adapted]:
    config = peft.FourierFTConfig(
        n_frequency=15, scaling=150.0, init_weights=True, target_modules=["layer"]
    )
    their = theirs(network, config)
    our = ours(network, "fourierft", coefficients=15, scale=150.0)
    layer, update = their.layer, update_of(our)
    rows, columns = layer.indices["default"]
    update.get_buffer("places").copy_(rows * IN + columns)
    set_both([(layer.fourierft_spectrum["default"], update.spectrum)])
    return their, our


@pytest.mark.parametrize(
    "both",
    [rslora, pissa, vera, ia3, loha, lokr(1), lokr(8), oft, shira, miss, fourierft],
    ids=lambda function: function.__name__,
)
def test_a_linear_layer_is_the_librarys(
    both: Callable[[nn.Module], tuple[nn.Module, Adapted]],
) -> None:
    torch.manual_seed(0)
    network, x = Network(), torch.randn(7, IN)
    their, our = both(network)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own
        plain, expected, got = network(x), their(x), our.model(x)
    assert (expected - plain).abs().max() > 1e-2
    assert (got - expected).abs().max() <= 1e-5


@pytest.mark.parametrize("name", ["loha", "lokr"])
def test_a_convolution_is_the_librarys(name: str) -> None:
    """Two of the tuners take plain convolutions."""
    torch.manual_seed(0)
    network, x = Network(), torch.randn(2, 6, 7, 5)
    network.layer = nn.Conv2d(6, 8, 3)  # type: ignore[assignment]
    tuner = {"loha": peft.LoHaConfig, "lokr": peft.LoKrConfig}[name]
    their = theirs(network, tuner(r=3, alpha=3, target_modules=["layer"]))
    our = ours(network, name, rank=3, alpha=3.0)
    layer, update = their.layer, update_of(our)
    names = {
        "loha": {"hada_w1_a": "B1", "hada_w1_b": "A1", "hada_w2_a": "B2", "hada_w2_b": "A2"},
        "lokr": {"lokr_w1": "W1", "lokr_w2": "W2.0"},
    }[name]
    with torch.no_grad():
        for their_name, our_name in names.items():
            value = noise(getattr(layer, their_name)["default"])
            getattr(layer, their_name)["default"].copy_(value)
            parameter = dict(update.named_parameters())[our_name]
            parameter.copy_(value.view_as(parameter))
        assert (their(x) - our.model(x)).abs().max() <= 1e-5
