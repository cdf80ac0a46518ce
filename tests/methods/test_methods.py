"""Each method against its definition, written out again here by hand."""

import copy
import json
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor, nn

from bench.conformance import toy_networks
from bench.conformance.case import predict
from bench.contract import INPUT_SHAPE, Adapted, BatchNorm
from bench.errors import ConfigError, MethodError
from bench.models import backbones
from bench.plugins import adaptation, registry

COUNTS = {
    "adapter": 142_993,  # 25 blocks: 2·16·C + 16 + C, the sum of C being 4,321
    "adaptformer": 246_433,  # 12 blocks: 64·(in + out) + 64 + out
    "baseline": 24_409_123,
    "batchnorm": 8_642,
    "batchnorm_stats": 0,
    "bias": 4_321,
    "bitfit": 8_642,
    "colora": 1_297_289,  # out · (in + kernel)
    "conv_adapter": 206_952,  # C/8 inner channels: 9·C + C/8, then C·C/8 + C; 1 for the last block
    "dora": 1_152_801,  # LoRA's and one magnitude for each of 4,321 outputs
    "fft": 24_409_123,
    "filter_atoms": 2_524,  # 9 atoms of each kernel, fewer where it is smaller
    "fourierft": 24_288,  # 24 · 1000 + 288
    "head": 291,  # 32·9 + 1, and scale and shift
    "hf": 341_024,  # LoRA of rank 8 on the 20 convolutions that are not transposed
    "ia3": 4_325,  # all inputs
    "l2sp": 24_409_123,
    "loha": 1_148_480,  # two updates of half LoRA's rank
    "lokr": 111_928,
    "lora": 1_148_480,
    "lora_c": 568_248,
    "lora_fa": 69_136,  # 16 · 4,321
    "lora_plus": 1_148_480,
    "lp_ft": 24_409_123,
    "miss": 275_616,  # 64 · (4,321 − 32) + 35 · 32
    "none": 0,
    "oft": 1_045_177,
    "pissa": 1_144_145,  # LoRA's − 15 · (32 · 9 + 1): the last layer has rank 1
    "prompt": 157_080,  # 5 · (1000·70 − 742·52)
    "rslora": 1_148_480,
    "shira": 487_921,  # 2 % of the weights
    "spectral_adapter": 229_663,  # 53 · 4,321 + 25 · 26
    "ssf": 8_642,
    "surgical": 1_473_891,
    "vera": 10_721,  # 25 · 256 + 4,321
    "wise": 24_409_123,
}
NEED_TRANSFORMER = {"attention", "layernorm", "prompt_tokens"}


def test_the_table_covers_every_method_of_the_package() -> None:
    own = {n for n, i in registry.load().methods.items() if i.distribution == registry.HARNESS}
    assert own == COUNTS.keys() | NEED_TRANSFORMER


@pytest.fixture(scope="module")
def inversionnet() -> nn.Module:
    return backbones.build("inversionnet")


@pytest.fixture(scope="module")
def small() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return toy_networks.convolutional()


@pytest.fixture(scope="module")
def records() -> Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return toy_networks.records(2)


def adapt(name: str, model: nn.Module, **options: object) -> Adapted:
    method = registry.load().get(name).method
    return adaptation.adapt(method, copy.deepcopy(model), method.config(**options))


def trainable(adapted: Adapted) -> dict[str, nn.Parameter]:
    return {name: p for name, p in adapted.model.named_parameters() if p.requires_grad}


def shake(adapted: Adapted, size: float = 0.05) -> None:
    """Move every trainable parameter, as training would."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in trainable(adapted).values():
            parameter += size * torch.randn(parameter.shape, generator=generator)


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_trainable_parameters_on_inversionnet(name: str, inversionnet: nn.Module) -> None:
    adapted = adapt(name, inversionnet)
    assert sum(p.numel() for p in trainable(adapted).values()) == COUNTS[name]


def test_lora_adds_its_factors_to_the_total(inversionnet: nn.Module) -> None:
    adapted = adapt("lora", inversionnet)
    assert sum(p.numel() for p in adapted.model.parameters()) == 25_557_603


# --- low-rank updates -----------------------------------------------------------------------------


@settings(max_examples=40)
@given(
    kind=st.sampled_from([nn.Conv2d, nn.ConvTranspose2d, nn.Linear]),
    inputs=st.integers(1, 5),
    outputs=st.integers(1, 5),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 3)),
    stride=st.integers(1, 2),
    padding=st.integers(0, 1),
    stabilised=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_weight_space_lora_is_the_two_branch_lora(
    kind: type[nn.Module],
    inputs: int,
    outputs: int,
    kernel: tuple[int, int],
    stride: int,
    padding: int,
    stabilised: bool,
    seed: int,
) -> None:
    """Outputs, gradients of A and B and of the input, against x ↦ layer(x) + s · B(A(x))."""
    torch.manual_seed(seed)
    rank, alpha = min(inputs, outputs), 3.0
    if kind is nn.Linear:
        layer, x = nn.Linear(inputs, outputs), torch.randn(2, 6, inputs)
    else:
        layer, x = kind(inputs, outputs, kernel, stride, padding), torch.randn(2, inputs, 7, 6)
    network = nn.Sequential(layer)
    adapted = adapt("lora", network, rank=rank, alpha=alpha, rank_stabilised=stabilised)
    shake(adapted, 0.5)
    a, b = (p.detach().clone().requires_grad_() for p in trainable(adapted).values())
    scale = alpha / (rank**0.5 if stabilised else rank)

    def two_branches(x: Tensor) -> Tensor:
        main = layer(x)
        if kind is nn.Linear:
            return main + scale * (x @ a.T) @ b.T
        if kind is nn.Conv2d:
            inner = functional.conv2d(x, a, None, stride, padding)
        else:
            inner = functional.conv_transpose2d(x, a, None, stride, padding)
        return main + scale * functional.conv2d(inner, b[:, :, None, None])

    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    mine, expected = adapted.model(ours), two_branches(theirs)
    weight = torch.randn_like(mine)
    (mine * weight).sum().backward()
    (expected * weight).sum().backward()
    grads = [p.grad for p in trainable(adapted).values()]
    pairs = zip([mine, *grads, ours.grad], [expected, a.grad, b.grad, theirs.grad], strict=True)
    for got, wanted in pairs:
        assert got is not None and wanted is not None
        assert (got - wanted).abs().max() <= 1e-5 * max(1.0, float(wanted.detach().abs().max()))


def test_lora_keeps_no_activations_of_its_own(small: nn.Module, records: Tensor) -> None:
    """One convolution with W + s·BA saves the layer's input once, whatever the batch."""

    def saved(model: nn.Module, samples: int) -> int:
        sizes = {}

        def pack(tensor: Tensor) -> Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            model(records[:1].repeat(samples, 1, 1, 1)).sum()
        return sum(sizes.values())

    def per_sample(adapted: Adapted) -> int:
        adapted.model.eval()
        return saved(adapted.model, 3) - saved(adapted.model, 2)

    assert per_sample(adapt("lora", small)) <= per_sample(adapt("fft", small))


def test_layers_option_picks_by_name_part_and_pattern(small: nn.Module) -> None:
    adapted = adapt("lora", small, layers="convblock8, deconv*_2.layers.0", rank=4)
    owners = {name.partition(".")[0] for name in trainable(adapted)}
    assert owners == {"convblock8", *(f"deconv{i}_2" for i in range(1, 6))}


@pytest.mark.parametrize("name", ["lora", "dora"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 513}, r"Rank 513 .* at most 512 \(in 'convblock8\.layers\.0'\)"),
        ({"rank": 2, "layers": ("deconv6",)}, r"Rank 2 .* at most 1 \(in 'deconv6\.layers\.0'\)"),
        ({"layers": ("convblok8",)}, r"Unknown layer 'convblok8'\. Did you mean 'convblock8'\?"),
    ],
)
def test_low_rank_options_that_do_not_fit(
    name: str, options: dict[str, object], message: str, inversionnet: nn.Module
) -> None:
    with pytest.raises(ConfigError, match=message):
        adapt(name, inversionnet, **options)


@pytest.mark.parametrize("options", [{"rank": 0}, {"alpha": 0}, {"ranks": 8}, {"rank": 2.5}])
def test_low_rank_options_that_are_no_options(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        registry.load().get("lora").method.config(**options)


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(3, 5, 3), nn.ConvTranspose2d(3, 5, 3), nn.Linear(3, 5)]
)
def test_dora_is_magnitude_times_direction(layer: nn.Module) -> None:
    adapted = adapt("dora", nn.Sequential(layer), rank=2, alpha=3.0)
    shake(adapted)
    parts = {name.rpartition(".")[2]: p.detach().numpy() for name, p in trainable(adapted).items()}
    weight = layer.weight.detach().numpy()
    out_first = np.moveaxis(weight, 1, 0) if isinstance(layer, nn.ConvTranspose2d) else weight
    factor = parts["A"] if not isinstance(layer, nn.ConvTranspose2d) else parts["A"].swapaxes(0, 1)
    direction = out_first + 1.5 * np.tensordot(parts["B"], factor, axes=1)
    rows = direction.reshape(5, -1)
    expected = parts["magnitude"].reshape(5, 1) * rows / np.linalg.norm(rows, axis=1, keepdims=True)
    got = adapted.model[0].weight.detach().numpy()
    got = np.moveaxis(got, 1, 0) if isinstance(layer, nn.ConvTranspose2d) else got
    np.testing.assert_allclose(got.reshape(5, -1), expected, atol=1e-6)


# --- other additive methods and the prompt --------------------------------------------------------


def test_adapters_and_branches_compute_what_their_papers_say() -> None:
    torch.manual_seed(0)
    block = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.LeakyReLU(0.2, True))
    x = torch.randn(2, 4, 6, 5)
    plain = predict(copy.deepcopy(block), x)
    relu, conv = functional.relu, functional.conv2d

    def parts(name: str, **options: object) -> tuple[Tensor, list[Tensor]]:
        adapted = adapt(name, nn.Sequential(block), **options)
        shake(adapted, 0.3)
        return predict(adapted.model, x), [p.detach() for p in trainable(adapted).values()]

    got, (down, b1, up, b2) = parts("adapter", width=3)
    torch.testing.assert_close(got, plain + conv(relu(conv(plain, down, b1)), up, b2))
    got, (down, b1, up, b2) = parts("adaptformer", width=3, scale=0.1)
    torch.testing.assert_close(got, plain + 0.1 * conv(relu(conv(x, down, b1)), up, b2))
    got, (depth, b1, point, b2) = parts("conv_adapter", kernel=3, compression=2)
    inner = relu(conv(plain, depth, b1, padding=1, groups=2))
    torch.testing.assert_close(got, plain + conv(inner, point, b2))


def test_adaptformer_runs_beside_the_blocks_that_keep_their_shape(inversionnet: nn.Module) -> None:
    beside = {name.partition(".")[0] for name in trainable(adapt("adaptformer", inversionnet))}
    pairs = {f"convblock{i}_2" for i in range(2, 8)} | {f"deconv{i}_2" for i in range(1, 6)}
    assert beside == pairs | {"deconv6"}


@pytest.mark.parametrize("bias", [True, False])
def test_ssf_scales_and_shifts_the_output(bias: bool) -> None:
    """With BatchNorm behind, in evaluation mode, and without: y = scale · f(x) + shift.

    A layer that has no bias, and no BatchNorm behind it, gets the scale alone.
    """
    torch.manual_seed(0)
    layers = (
        nn.Sequential(nn.Conv2d(3, 4, 3, bias=bias), nn.BatchNorm2d(4)),
        nn.Sequential(nn.ConvTranspose2d(3, 4, 3, bias=bias)),
        nn.Sequential(nn.Conv2d(3, 4, 3, bias=bias), nn.ReLU()),
    )
    x = torch.randn(2, 3, 6, 5)
    for layer in layers:
        adapted = adapt("ssf", layer)
        shake(adapted, 0.5)
        scale, *shift = (p.detach().view(-1, 1, 1) for p in trainable(adapted).values())
        assert len(shift) == (bias or isinstance(layer[-1], nn.BatchNorm2d))
        plain = predict(layer[:1] if isinstance(layer[-1], nn.ReLU) else layer, x)
        expected = scale * plain + sum(shift)
        if isinstance(layer[-1], nn.ReLU):
            expected = expected.relu()
        torch.testing.assert_close(predict(adapted.model, x), expected)
        assert adapted.merge is not None
        assert adapted.merge().state_dict().keys() == layer.state_dict().keys()


@pytest.mark.parametrize("bias", [True, False])
def test_ssf_has_a_pair_for_each_channel_of_a_grouped_layer(bias: bool) -> None:
    """The output channels of a transposed convolution lie in its groups."""
    layer = nn.ConvTranspose2d(6, 8, 3, groups=2, bias=bias)
    network = nn.Sequential(copy.deepcopy(layer))
    method = registry.get("ssf").method
    (group,) = adaptation.adapt(method, network, method.config()).groups
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in group.parameters:
            parameter.copy_(torch.randn_like(parameter))
    x = torch.randn(2, 6, 5, 5)
    scale = group.parameters[0].view(1, -1, 1, 1)
    expected = layer(x) * scale
    if bias:
        expected = expected + group.parameters[1].view(1, -1, 1, 1)
    assert scale.numel() == 8
    assert torch.allclose(network(x), expected, atol=1e-5)


@pytest.mark.parametrize("policy", ["statistics", "both"])
def test_a_batchnorm_policy_holds_for_a_method_that_folds_into_batchnorm(
    policy: BatchNorm, small: nn.Module
) -> None:
    """SSF puts its pair on BatchNorm's own scale and shift, which the policy is about."""
    network = copy.deepcopy(small)
    layers = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    affine = {id(p) for layer in layers for p in layer.parameters()}
    assert affine
    method = registry.get("ssf").method
    adapted = adaptation.adapt(method, network, method.config(batchnorm=policy))
    trained = {id(p) for group in adapted.groups for p in group.parameters}
    assert affine & trained == (affine if policy == "both" else set())
    assert trained - affine


@pytest.mark.parametrize("name", ["adapter", "adaptformer", "conv_adapter"])
@pytest.mark.parametrize("end", [nn.MaxPool2d(2), nn.PixelShuffle(2), nn.Upsample(scale_factor=2)])
def test_blocks_that_end_in_another_shape_keep_it(name: str, end: nn.Module) -> None:
    last = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), end)
    first = nn.Sequential(nn.Conv2d(5, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
    network = nn.Sequential(first, last).eval()
    x = torch.randn(2, 5, 8, 8)
    expected = network(x)
    method = registry.get(name).method
    adapted = adaptation.adapt(method, network, method.config())
    assert torch.equal(adapted.model.eval()(x), expected)


def test_prompt_changes_the_border_and_nothing_else(small: nn.Module) -> None:
    adapted = adapt("prompt", small, width=7)
    assert sum(p.numel() for p in trainable(adapted).values()) == 5 * (1000 * 70 - 800 * 56)
    shake(adapted, 1.0)
    seen: list[Tensor] = []
    adapted.model.convblock1.register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0])
    )
    x = torch.randn(2, *INPUT_SHAPE)
    predict(adapted.model, x)
    change = seen[0] - x
    assert torch.equal(change[:, :, 100:900, 7:63], torch.zeros(2, 5, 800, 56))
    change[:, :, 100:900, 7:63] = 1
    assert (change != 0).all()
    torch.testing.assert_close(change[0], change[1])


def test_prompt_tokens_are_attended_to_and_dropped() -> None:
    torch.manual_seed(0)
    block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, norm_first=True)
    adapted = adapt("prompt_tokens", nn.Sequential(block), tokens=3)
    x = torch.randn(2, 5, 8)
    (tokens,) = trainable(adapted).values()
    whole = torch.cat((tokens.detach().expand(2, 3, 8), x), dim=1)
    torch.testing.assert_close(predict(adapted.model, x), predict(block, whole)[:, 3:])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("conv_adapter", {"kernel": 4}, "must be odd"),
        ("prompt", {"width": 35}, "at most 34"),
        ("surgical", {"part": "deconv7"}, "Unknown part 'deconv7'. Did you mean 'deconv"),
        ("surgical", {"part": "deconv6:convblock1"}, "empty; name the earlier block first"),
    ],
)
def test_other_options_that_do_not_fit(
    name: str, options: dict[str, object], message: str, small: nn.Module
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        adapt(name, small, **options)


# --- selective methods ----------------------------------------------------------------------------


def test_selective_methods_choose_what_they_say(small: nn.Module) -> None:
    chosen = {name: set(trainable(adapt(name, small))) for name in COUNTS if name != "wise"}
    everything = {name for name, _ in small.named_parameters()}
    convolutions = {n for n in everything if ".layers.0." in n}
    assert chosen["fft"] == everything
    assert chosen["batchnorm"] == everything - convolutions
    assert chosen["bitfit"] == {n for n in everything if n.endswith("bias")}
    assert chosen["bias"] == chosen["bitfit"] & convolutions
    assert chosen["head"] == {n for n in everything if n.startswith("deconv6")}
    assert chosen["batchnorm_stats"] == set()


@pytest.mark.parametrize(
    ("part", "first", "last"),
    [
        ("first", "convblock1", "convblock5_1"),
        ("middle", "convblock5_2", "deconv2_1"),
        ("last", "deconv2_2", "deconv6"),
        ("convblock8", "convblock8", "convblock8"),
        ("convblock8:deconv2_2", "convblock8", "deconv2_2"),
    ],
)
def test_surgical_parts_are_contiguous(part: str, first: str, last: str, small: nn.Module) -> None:
    names = [name for name, _ in small.named_children()]
    expected = names[names.index(first) : names.index(last) + 1]
    adapted = adapt("surgical", small, part=part)
    assert list(dict.fromkeys(n.partition(".")[0] for n in trainable(adapted))) == expected
    adaptation.training_mode(adapted.model, "both")
    moving = [n for n, m in adapted.model.named_modules() if m.training and "layers.1" in n]
    assert moving == [f"{name}.layers.1" for name in expected]


def test_batchnorm_stats_follow_the_batches(small: nn.Module, records: Tensor) -> None:
    """The first layer's running mean after two batches: 0.9² old + 0.09 and 0.1 of the new."""
    adapted = adapt("batchnorm_stats", small)
    adaptation.training_mode(adapted.model, "statistics")
    convolution = small.convblock1.layers[0]
    expected = small.convblock1.layers[1].running_mean.clone()
    with torch.no_grad():
        for batch in (records, -records):
            adapted.model(batch)
            expected = 0.9 * expected + 0.1 * convolution(batch).mean(dim=(0, 2, 3))
    torch.testing.assert_close(adapted.model.convblock1.layers[1].running_mean, expected)


def test_convolution_bias_needs_batchnorm_in_evaluation_mode(
    small: nn.Module, records: Tensor
) -> None:
    """Why `bias` and `bitfit` keep it so: normalised by the batch, a bias has no gradient."""

    def size(policy: BatchNorm) -> float:
        adapted = adapt("bias", small)
        adaptation.training_mode(adapted.model, policy)
        adapted.model(records).square().mean().backward()
        return max(float(p.grad.abs().max()) for p in trainable(adapted).values())

    assert size("statistics") < 1e-5 < 1e-3 < size("frozen")


@pytest.mark.parametrize("name", sorted(NEED_TRANSFORMER))
def test_methods_for_transformers_say_so_on_inversionnet(name: str, small: nn.Module) -> None:
    with pytest.raises(MethodError, match=rf"'{name}' needs .*layers, which this network does not"):
        adapt(name, small)


def test_transformer_methods_choose_what_they_say() -> None:
    network = toy_networks.transformer()
    everything = {name for name, _ in network.named_parameters()}
    assert set(trainable(adapt("attention", network))) == {
        n for n in everything if "self_attn" in n
    }
    assert set(trainable(adapt("layernorm", network))) == {n for n in everything if "norm" in n}


def test_transformer_methods_know_timm() -> None:
    vit = pytest.importorskip("timm.models.vision_transformer")
    network = vit.VisionTransformer(
        img_size=16, patch_size=8, in_chans=5, num_classes=3, embed_dim=12, depth=2, num_heads=2
    )
    x = torch.randn(2, 5, 16, 16)
    chosen = set(trainable(adapt("attention", network)))
    assert chosen == {n for n, _ in network.named_parameters() if ".attn." in n}
    assert predict(adapt("prompt_tokens", network, tokens=4).model, x).shape == (2, 3)
    assert sum(p.numel() for p in trainable(adapt("layernorm", network)).values()) == 5 * 2 * 12


# --- opponents of full fine-tuning ----------------------------------------------------------------


def test_l2sp_penalty_is_half_alpha_times_the_squared_distance(small: nn.Module) -> None:
    adapted = adapt("l2sp", small, alpha=0.3)
    assert adapted.penalty is not None and float(adapted.penalty().detach()) == 0
    shake(adapted)
    start = dict(small.named_parameters())
    moved = {name: p - start[name] for name, p in trainable(adapted).items()}
    expected = 0.15 * sum(float(d.detach().double().square().sum()) for d in moved.values())
    penalty = adapted.penalty()
    assert float(penalty.detach()) == pytest.approx(expected, rel=1e-5)
    penalty.backward()
    for name, parameter in trainable(adapted).items():
        torch.testing.assert_close(parameter.grad, 0.3 * moved[name].detach())


def test_wise_takes_the_best_point_between_foundation_and_tuned(small: nn.Module) -> None:
    adapted = adapt("wise", small, steps=4)
    shake(adapted)
    with torch.no_grad():
        for name, buffer in adapted.model.named_buffers():
            buffer += 3 if "batches" in name else 0.5
    tuned = copy.deepcopy(adapted.model.state_dict())
    start = small.state_dict()
    visited: list[dict[str, Tensor]] = []

    def validate() -> float:
        visited.append(copy.deepcopy(adapted.model.state_dict()))
        return [0.5, 0.4, 0.2, float("nan"), 0.3][len(visited) - 1]

    assert adapted.finish is not None
    facts = adapted.finish(validate)
    assert facts["coefficient"] == 0.5
    assert [point["coefficient"] for point in facts["sweep"]] == [0, 0.25, 0.5, 0.75, 1]
    assert json.dumps(facts["sweep"][:3])
    counters = {name for name in start if "batches" in name}
    statistics = {name for name in start if "running" in name}  # the harness makes them anew
    for name in start.keys() - counters - statistics:
        assert torch.equal(visited[0][name], start[name]), name
        assert torch.equal(visited[-1][name], tuned[name]), name
        half = (start[name].double() + tuned[name].double()) / 2
        final = adapted.model.state_dict()[name]
        torch.testing.assert_close(final.double(), half, rtol=1e-5, atol=1e-6)
    for name in counters | statistics:
        assert torch.equal(adapted.model.state_dict()[name], tuned[name])


def test_lp_ft_trains_the_head_first_on_fixed_features(small: nn.Module) -> None:
    adapted = adapt("lp_ft", small, head_only=0.4)
    head, body = adapted.groups
    assert (head.active, body.active) == ((0.0, 1.0), (0.4, 1.0))
    assert len(head.parameters) == 4
    for parameter in body.parameters:  # as the loop does before 0.4
        parameter.requires_grad_(False)
    adaptation.training_mode(adapted.model, "both")
    moving = [n for n, m in adapted.model.named_modules() if m.training and n.endswith(".1")]
    assert moving == ["deconv6.layers.1"]
