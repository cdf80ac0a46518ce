"""The methods that change weights, layer by layer: counts, laws, formulas written out by hand."""

import copy
from collections.abc import Callable
from math import prod

import matrix
import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from frugal_networks import assert_same
from shallow import shallow
from timm.models.vision_transformer import Attention
from torch import Tensor, nn

from bench import conformance
from bench.conformance.case import predict
from bench.contract import Adapted
from bench.errors import ConfigError
from bench.models import backbones
from bench.plugins import adaptation, registry

#  in, out, kernel of all 25 layers of inversionnet_quarter
LAYERS = [
    (5, 8, (7, 1)),
    (8, 16, (3, 1)),
    *[(16, 16, (3, 1))] * 3,
    (16, 32, (3, 1)),
    (32, 32, (3, 1)),
    *[(32, 32, (3, 3))] * 2,
    (32, 64, (3, 3)),
    *[(64, 64, (3, 3))] * 3,
    (64, 128, (8, 9)),
    *[(128, 128, (5, 5)), (128, 128, (3, 3))],
    *[(128, 64, (4, 4)), (64, 64, (3, 3))],
    *[(64, 32, (4, 4)), (32, 32, (3, 3))],
    *[(32, 16, (4, 4)), (16, 16, (3, 3))],
    *[(16, 8, (4, 4)), (8, 8, (3, 3))],
    (8, 1, (3, 3)),
]


def half(number: int) -> int:
    """The divisor next below the square root."""
    return max(d for d in range(1, number + 1) if number % d == 0 and d * d <= number)


def oft_count(columns: int) -> int:
    block = max(d for d in range(1, 33) if columns % d == 0)
    return columns // block * (block * (block - 1) // 2)


BY_HAND: dict[str, Callable[[int, int, int, int], int]] = {
    "colora": lambda i, o, h, w: i * o + o * h * w,
    "filter_atoms": lambda i, o, h, w: min(9, h * w) * h * w,
    "fourierft": lambda i, o, h, w: min(1000, i * o * h * w),
    "ia3": lambda i, o, h, w: i,
    "loha": lambda i, o, h, w: 2 * 8 * (o + i * h * w),
    "lokr": lambda i, o, h, w: half(o) * half(i) + (o // half(o)) * (i // half(i)) * h * w,
    "lora_c": lambda i, o, h, w: 4 * min(h, w) * (o * h + i * w),
    "lora_fa": lambda i, o, h, w: 16 * o,
    "lora_plus": lambda i, o, h, w: 16 * (o + i * h * w),
    "miss": lambda i, o, h, w: min(64, i * h * w) * o,
    "oft": lambda i, o, h, w: oft_count(i * h * w),
    "pissa": lambda i, o, h, w: min(16, o) * (o + i * h * w),
    "rslora": lambda i, o, h, w: 16 * (o + i * h * w),
    "shira": lambda i, o, h, w: round(0.02 * i * o * h * w),
    "spectral_adapter": lambda i, o, h, w: 2 * 26 * o + 26 + o,  # int(8 + 24 · (7 / 8)²) = 26
    "vera": lambda i, o, h, w: 256 + o,
}
MERGEABLE = sorted(BY_HAND.keys() - {"spectral_adapter"})
ANY_LAYER = sorted(BY_HAND.keys() - {"spectral_adapter", "colora"})
"""Methods that take linear layers, too."""

KINDS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(6, 8),
    "convolution": lambda: nn.Conv2d(6, 8, (3, 2), stride=2, padding=1),
    "grouped": lambda: nn.Conv2d(6, 8, 3, groups=2),
    "depthwise": lambda: nn.Conv2d(6, 6, 5, padding=2, groups=6),
    "transposed": lambda: nn.ConvTranspose2d(6, 8, (3, 2), stride=2),
    "grouped transposed": lambda: nn.ConvTranspose2d(6, 8, 3, groups=2),
}


def adapt(name: str, model: nn.Module, **options: object) -> Adapted:
    """A copy of a network, adapted from a fixed seed; ranks that narrow layers allow."""
    if name in ("rslora", "lora_plus", "lora_fa", "pissa", "loha", "lora_c"):
        options = {"rank": 2} | options
    method = registry.load().get(name).method
    torch.manual_seed(5)
    return adaptation.adapt(method, copy.deepcopy(model), method.config(**options))


def trained(adapted: Adapted) -> dict[str, nn.Parameter]:
    return {name: p for name, p in adapted.model.named_parameters() if p.requires_grad}


def shake(adapted: Adapted, size: float = 0.3) -> dict[str, Tensor]:
    """Move every trained parameter; returns them by the last part of their names."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in trained(adapted).values():
            parameter += size * torch.randn(parameter.shape, generator=generator)
    return {name.rpartition(".")[2]: p.detach() for name, p in trained(adapted).items()}


def layer_of(kind: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    layer = KINDS[kind]()
    return layer, torch.randn(2, 6) if kind == "linear" else torch.randn(2, 6, 9, 7)


# --- counts, start, merge, gradients --------------------------------------------------------------


@pytest.mark.parametrize("name", BY_HAND)
def test_counts_on_the_quarter_network_by_hand(name: str) -> None:
    adapted = adapt(name, backbones.build("inversionnet_quarter"), **default_ranks(name))
    by_hand = sum(BY_HAND[name](i, o, *kernel) for i, o, kernel in LAYERS)
    assert sum(p.numel() for p in trained(adapted).values()) == by_hand


def default_ranks(name: str) -> dict[str, object]:
    """What the method's own config says."""
    config = registry.load().get(name).method.config()
    return {"rank": config.rank} if hasattr(config, "rank") else {}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", BY_HAND)
def test_start_gradients_and_merge_on_every_kind_of_layer(name: str, kind: str) -> None:
    if kind == "linear" and name not in ANY_LAYER:
        pytest.skip("leaves linear layers alone")
    layer, x = layer_of(kind)
    network = nn.Sequential(layer)
    adapted = adapt(name, network)
    plain = predict(network, x)
    assert torch.equal(predict(adapted.model, x), plain)
    shake(adapted)
    adapted.model(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in trained(adapted).values())
    changed = predict(adapted.model, x)
    assert (changed - plain).abs().max() > 1e-3
    if name == "spectral_adapter":
        assert adapted.merge is None
        return
    assert adapted.merge is not None
    merged = adapted.merge()
    assert merged.state_dict().keys() == network.state_dict().keys()
    network.load_state_dict(merged.state_dict())
    assert (predict(network, x) - changed).abs().max() <= 1e-5 * max(1, float(changed.abs().max()))


@pytest.mark.parametrize("name", sorted({*MERGEABLE} - {"rslora", "lora_plus", "lora_fa"}))
def test_a_transposed_convolution_is_adapted_like_a_plain_one(name: str) -> None:
    """Same matrix, same random numbers, same change: the layout is all that differs."""
    torch.manual_seed(0)
    plain, transposed = nn.Conv2d(6, 8, (3, 2)), nn.ConvTranspose2d(6, 8, (3, 2))
    with torch.no_grad():
        transposed.weight.copy_(plain.weight.transpose(0, 1))
    weights = []
    for layer in (plain, transposed):
        adapted = adapt(name, nn.Sequential(layer))
        shake(adapted)
        weights.append(adapted.model[0].weight.detach())
    assert (weights[0] - plain.weight).abs().max() > 1e-3
    torch.testing.assert_close(weights[1].transpose(0, 1), weights[0])


# --- formulas -------------------------------------------------------------------------------------


def test_colora_is_a_pointwise_and_then_a_depthwise_convolution() -> None:
    layer, x = nn.Conv2d(6, 8, 3, 2, 1), torch.randn(2, 6, 9, 7)
    adapted = adapt("colora", nn.Sequential(layer))
    p = shake(adapted)
    inner = functional.conv2d(x, p["pointwise"][:, :, None, None])
    branch = functional.conv2d(inner, p["depthwise"].view(8, 1, 3, 3), None, 2, 1, 1, 8)
    torch.testing.assert_close(predict(adapted.model, x), predict(layer, x) + branch)


def test_lora_c_splits_the_kernel_between_its_factors() -> None:
    layer = nn.Conv2d(6, 8, (3, 2))
    adapted = adapt("lora_c", nn.Sequential(layer), rank=2, alpha=3.0)
    p = {name: value.numpy() for name, value in shake(adapted).items()}
    assert p["B"].shape == (8 * 3, 4) and p["A"].shape == (4, 6 * 2)
    expected = layer.weight.detach().numpy().copy()
    for o, i, row, column in np.ndindex(expected.shape):
        expected[o, i, row, column] += 1.5 * p["B"][3 * o + row] @ p["A"][:, 2 * i + column]
    np.testing.assert_allclose(adapted.model[0].weight.detach(), expected, atol=1e-5)


@pytest.mark.parametrize("layer", [nn.Conv2d(6, 8, 3), nn.Linear(8, 12)])
def test_filter_atoms_are_exchanged_and_their_coefficients_kept(layer: nn.Module) -> None:
    """With as many atoms as a filter has elements, W = α D exactly, and W' = α (D + ΔD)."""
    size = 9 if isinstance(layer, nn.Conv2d) else 16
    adapted = adapt("filter_atoms", nn.Sequential(layer), atoms=size)
    change = shake(adapted)["change_of_D"].numpy()

    def filters(weight: Tensor) -> np.ndarray:
        if isinstance(layer, nn.Conv2d):
            return weight.detach().numpy().reshape(-1, 9)
        blocks = weight.detach().numpy().reshape(3, 4, 2, 4)  # rows of blocks, blocks of columns
        return blocks.swapaxes(1, 2).reshape(-1, 16)

    before = filters(layer.weight)
    _, _, atoms = np.linalg.svd(before, full_matrices=True)
    count = min(before.shape)  # beyond the rank the atoms are of no use, and any will do
    signs = np.sign(atoms[np.arange(size), np.abs(atoms).argmax(axis=1)])
    atoms = (atoms * signs[:, None])[:count]
    expected = before @ atoms.T @ (atoms + change[:count])
    np.testing.assert_allclose(filters(adapted.model[0].weight), expected, atol=1e-5)


def test_few_filter_atoms_leave_the_rest_of_the_weight() -> None:
    layer = nn.Conv2d(6, 8, 3)
    adapted = adapt("filter_atoms", nn.Sequential(layer), atoms=2)
    shake(adapted)
    change = (adapted.model[0].weight - layer.weight).detach().reshape(-1, 9)
    assert torch.linalg.matrix_rank(change) == 2


@pytest.mark.parametrize("kind", ["linear", "convolution", "transposed"])
def test_oft_keeps_the_angles_between_neurons(kind: str) -> None:
    layer, _ = layer_of(kind)
    adapted = adapt("oft", nn.Sequential(layer), block=4)
    shake(adapted, 1.0)

    def products(weight: Tensor) -> Tensor:
        weight = weight.detach().double()
        rows = (weight.transpose(0, 1) if kind == "transposed" else weight).flatten(1)
        return rows @ rows.T

    now = adapted.model[0].weight
    assert (now - layer.weight).abs().max() > 0.05
    torch.testing.assert_close(products(now), products(layer.weight), atol=1e-5, rtol=1e-5)


def test_fourierft_is_a_sum_of_waves() -> None:
    layer = nn.Conv2d(3, 4, (2, 1))
    adapted = adapt("fourierft", nn.Sequential(layer), coefficients=5, scale=7.0)
    spectrum = shake(adapted)["spectrum"].numpy()
    places = adapted.model.get_buffer("0.parametrizations.weight.0.places").numpy()
    assert len(set(places)) == 5
    expected = layer.weight.detach().numpy().reshape(4, 6).copy()
    for o, column in np.ndindex(4, 6):
        phase = places // 6 * o / 4 + places % 6 * column / 6
        expected[o, column] += 7 / 24 * (spectrum * np.cos(2 * np.pi * phase)).sum()
    np.testing.assert_allclose(adapted.model[0].weight.detach().reshape(4, 6), expected, atol=1e-6)


def test_shira_trains_the_largest_weights_where_asked() -> None:
    layer = nn.Conv2d(6, 8, 3)
    adapted = adapt("shira", nn.Sequential(layer), density=0.05, mask="magnitude")
    shake(adapted)
    moved = (adapted.model[0].weight != layer.weight).flatten()
    largest = layer.weight.detach().abs().flatten().topk(22).indices  # 5 % of 432
    assert set(moved.nonzero().flatten().tolist()) == set(largest.tolist())


def test_lora_plus_gives_b_its_own_learning_rate() -> None:
    adapted = adapt("lora_plus", nn.Sequential(nn.Linear(6, 8)), ratio=12.0)
    scales = {group.name: group.learning_rate_scale for group in adapted.groups}
    assert scales == {"lora_A": 1.0, "lora_B": 12.0}
    assert [g.parameters[0].shape for g in adapted.groups] == [(2, 6), (8, 2)]


def test_ia3_scales_what_enters_a_layer_and_keys_and_values() -> None:
    torch.manual_seed(0)
    attention = Attention(4, num_heads=1, qkv_bias=True)
    attention.proj = nn.Identity()
    network = nn.ModuleDict({"attention": attention, "out": nn.Conv2d(4, 6, 3, groups=2)})
    adapted = adapt("ia3", network)
    assert [p.numel() for p in trained(adapted).values()] == [8, 4]
    shake(adapted)
    keys_values, inputs = (p.detach() for p in trained(adapted).values())
    x, maps = torch.randn(3, 4), torch.randn(3, 4, 5, 5)
    expected = attention.qkv(x) * torch.cat((torch.ones(4), keys_values))
    torch.testing.assert_close(adapted.model["attention"].qkv(x), expected)
    expected = network["out"](maps * inputs.view(4, 1, 1))
    torch.testing.assert_close(adapted.model["out"](maps), expected)


def test_spectral_adapter_adapts_low_modes_with_a_bottleneck_that_narrows() -> None:
    """The transform, mode by mode, with numpy."""
    layer, x = nn.Conv2d(3, 4, 3, padding=1), torch.randn(2, 3, 9, 12)
    options = {"width": 2, "modes": 4, "bands": 2, "power": 1.0}
    adapted = adapt("spectral_adapter", nn.Sequential(layer), **options)
    shake(adapted)
    p = {n.split("spectral_adapter.")[1]: v.detach().numpy() for n, v in trained(adapted).items()}
    y = predict(layer, x).numpy()
    spectrum = np.fft.rfft2(y, norm="ortho")
    change = np.zeros_like(spectrum)
    for row, column in np.ndindex(9, 7):
        frequency = max(min(row, 9 - row), column)
        if frequency >= 4:
            continue
        width = [3, 1][frequency // 2]  # 1 + 3 · (1 − 1/4) and 1 + 3 · (1 − 3/4), rounded down
        mode = spectrum[:, :, row, column]
        parts = []
        for part in (mode.real, mode.imag):
            hidden = torch.from_numpy(part @ p["down.weight"].T + p["down.bias"])
            hidden = functional.gelu(hidden).numpy()[:, :width]
            parts.append(hidden @ p["up.weight"][:, :width].T + p["up.bias"])
        change[:, :, row, column] = parts[0] + 1j * parts[1]
    expected = y + np.fft.irfft2(change, (9, 12), norm="ortho")
    np.testing.assert_allclose(predict(adapted.model, x), expected, atol=1e-5)


def test_spectral_adapter_takes_layers_with_complex_weights_and_subclasses() -> None:
    """As in the code of Li et al., whose layer holds its weights as complex numbers."""

    class SpectralConv2d(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out_channels = 4
            self.weight = nn.Parameter(torch.randn(3, 4, 2, 2, dtype=torch.cfloat))

        def forward(self, x: Tensor) -> Tensor:
            low = torch.einsum("nizx,iozx->nozx", torch.fft.rfft2(x)[:, :, :2, :2], self.weight)
            return torch.fft.irfft2(low, x.shape[2:])

    class Own(SpectralConv2d):
        """Under another name."""

    x = torch.randn(2, 3, 9, 12)
    for layer in (SpectralConv2d(), Own()):
        adapted = adapt("spectral_adapter", nn.Sequential(layer))
        assert all(p.dtype == torch.float32 for p in trained(adapted).values())
        assert torch.equal(predict(adapted.model, x), predict(layer, x))
        shake(adapted)
        assert not torch.allclose(predict(adapted.model, x), predict(layer, x), atol=1e-3)


# --- options that do not fit ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["colora", "spectral_adapter"])
def test_methods_for_convolutions_need_a_spatial_kernel(name: str) -> None:
    with pytest.raises(ConfigError, match="kernel larger than 1 × 1"):
        adapt(name, nn.Sequential(nn.Conv2d(3, 4, 1)))


def test_oft_needs_columns_to_turn() -> None:
    with pytest.raises(ConfigError, match="blocks of 2 to 4"):
        adapt("oft", nn.Sequential(nn.Linear(7, 3)), block=4)
    network = nn.Sequential(nn.Linear(7, 8), nn.Linear(8, 3))
    with pytest.raises(ConfigError, match="columns of layer '0' cannot be split into blocks"):
        adapt("oft", network, block=4, layers="0,1")
    assert len(trained(adapt("oft", network, block=4))) == 1


@pytest.mark.parametrize("name", ["rslora", "lora_plus", "lora_fa", "pissa", "loha", "lora_c"])
def test_a_rank_beyond_all_layers_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="Rank 7 is larger than the layers allow: at most 6"):
        adapt(name, nn.Sequential(nn.Linear(6, 8)), rank=7)


# --- on the shipped networks ----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", matrix.part(BY_HAND))
def test_it_conforms_on_the_transformer(name: str) -> None:
    """Its layers are all there in the first of its six blocks."""
    network = shallow(conformance.network_of(backbones.get("hybrid_vit").backbone))
    conformance.check_method(registry.load().get(name).method, network=network)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", matrix.part(["hybrid_vit", "caformer_unet"], "hybrid_vit"))
@pytest.mark.parametrize("name", ["ia3", "oft", "filter_atoms", "spectral_adapter"])
def test_the_frugal_pass_has_the_same_gradients(name: str, backbone: str) -> None:
    method = registry.load().get(name).method
    torch.manual_seed(0)
    adapted = adaptation.adapt(method, backbones.build(backbone), method.config())
    adaptation.training_mode(adapted.model, method.traits.batchnorm)
    shake(adapted, 0.02)
    assert_same(adapted.model, torch.randn(1, 5, 1000, 70), tolerance=2e-5)


def test_kernels_are_those_of_the_network() -> None:
    """The table at the top, against the network itself."""
    shapes = []
    for layer in backbones.build("inversionnet_quarter").modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            shapes.append((layer.in_channels, layer.out_channels, layer.kernel_size))
            assert layer.weight.numel() == prod((*shapes[-1][:2], *layer.kernel_size))
    assert shapes == LAYERS
