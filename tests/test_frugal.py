"""The frugal pass against stock PyTorch: same numbers, fewer bytes, no trace left behind."""

import copy
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from bench.backbones.inversionnet import Block, InversionNet
from bench.frugal import frugal
from bench.frugal.activation import fills_memory, pack_signs, unpack_signs
from bench.frugal.convolution import Convolution
from bench.training.saved import saved_bytes, saved_bytes_per_sample


class LowRank(nn.Module):
    """A stand-in for weight-space LoRA on a plain or transposed convolution."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.a = nn.Parameter(0.1 * torch.randn(weight.shape[0], 2, dtype=weight.dtype))
        self.b = nn.Parameter(0.1 * torch.randn(2, weight[0].numel(), dtype=weight.dtype))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + (self.a @ self.b).view_as(weight)


def step(
    model: nn.Module, x: Tensor, *, frugally: bool, times: int = 1, fold: bool | None = None
) -> tuple[Tensor, dict[str, Tensor | None], dict[str, Tensor]]:
    """Output, gradients by name (the input's as ``x``) and buffers after `times` passes."""
    model = copy.deepcopy(model)
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_(x.requires_grad)
    torch.manual_seed(1)
    with frugal(model, fold=fold) if frugally else nullcontext():
        for _ in range(times):
            y = model(x)
            if y.requires_grad:
                # positive, so that gradients are sums that do not cancel
                weights = (1.1 + torch.arange(y.numel()).cos()).to(y.dtype).view_as(y)
                (y * weights).sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters()} | {"x": x.grad}
    return y.detach(), gradients, dict(model.named_buffers())


def assert_same(
    model: nn.Module, x: Tensor, *, tolerance: float, times: int = 1, fold: bool | None = None
) -> None:
    stock = step(model, x, frugally=False, times=times)
    ours = step(model, x, frugally=True, times=times, fold=fold)
    assert_close(ours[0], stock[0], tolerance, "output")
    # Rounding is relative to what is summed up, which may cancel: a convolution's bias before
    # batch statistics has a gradient of zero. The largest gradient of the network sets the scale.
    sizes = [float(g.abs().max()) for g in stock[1].values() if g is not None]
    for name, expected in stock[1].items():
        got = ours[1][name]
        assert (got is None) == (expected is None), name
        if got is not None and expected is not None:
            assert got.dtype == expected.dtype and got.shape == expected.shape
            floor = 1e-2 * max(sizes)
            assert_close(got, expected, tolerance, name, floor)
    for name, expected in stock[2].items():
        assert_close(ours[2][name], expected, tolerance, name)


@torch.no_grad()
def assert_close(
    got: Tensor, expected: Tensor, tolerance: float, name: str, floor: float = 0.0
) -> None:
    scale = max(float(expected.abs().max()), floor, 1e-30)
    error = float((got.double() - expected.double()).abs().max()) / scale
    assert error <= tolerance, f"{name}: {error:.2e} of the largest value"


# --- random networks --------------------------------------------------------------------------

PARTS = ("conv", "deconv", "norm", "leaky", "relu", "tanh", "sigmoid", "gelu", "dropout", "pool")


@st.composite
def networks(draw: st.DrawFn) -> nn.Module:
    """Small networks of images with four channels in, random in every respect."""
    torch.manual_seed(draw(st.integers(0, 1000)))
    layers: list[nn.Module] = []
    channels, overwritable = 4, False
    for _ in range(draw(st.integers(1, 7))):
        kind = draw(st.sampled_from(PARTS[:4] * 3 + PARTS[4:]))
        inplace = overwritable and draw(st.booleans())
        overwritable = kind in ("conv", "deconv", "norm")
        if kind in ("conv", "deconv"):
            layer, channels = convolution(draw, channels, transposed=kind == "deconv")
        elif kind == "norm":
            layer = nn.BatchNorm2d(
                channels,
                affine=draw(st.booleans()),
                momentum=draw(st.sampled_from([0.1, 0.5, None])),
                track_running_stats=draw(st.sampled_from([True, True, False])),
            )
        elif kind == "leaky":
            layer = nn.LeakyReLU(draw(st.sampled_from([0.2, 0.01, 0.0])), inplace=inplace)
        elif kind == "relu":
            layer = nn.ReLU(inplace=inplace)
        else:
            layer = {
                "tanh": nn.Tanh(),
                "sigmoid": nn.Sigmoid(),
                "gelu": nn.GELU(),
                "dropout": nn.Dropout(0.5),
                "pool": nn.AvgPool2d(2, ceil_mode=True),
            }[kind]
        layers.append(layer)
    model: nn.Module = nn.Sequential(*layers)
    if draw(st.booleans()):
        cut = draw(st.integers(0, len(layers)))
        model = nn.Sequential(nn.Sequential(*layers[:cut]), nn.Sequential(*layers[cut:]))
    if draw(st.booleans()):
        model = nn.Sequential(model, nn.Flatten(), nn.LazyLinear(3))
    model = model.double().eval()
    with torch.no_grad():
        model(torch.randn(2, 4, 6, 5, dtype=torch.float64))
    return randomise(draw, model)


def convolution(draw: st.DrawFn, channels: int, *, transposed: bool) -> tuple[nn.Module, int]:
    kernel, dilation = draw(st.sampled_from([1, 2, 3])), draw(st.sampled_from([1, 2]))
    stride = draw(st.sampled_from([1, 2, (1, 2)]))
    out = draw(st.sampled_from([2, 4, 6]))
    options: dict[str, Any] = {
        "kernel_size": (kernel, draw(st.sampled_from([1, 3]))),
        "stride": stride,
        "padding": draw(st.sampled_from([0, 1])) if transposed else 2,
        "dilation": dilation,
        "groups": draw(st.sampled_from([1, 2])),
        "bias": draw(st.booleans()),
    }
    if not transposed:
        options["padding_mode"] = draw(st.sampled_from(["zeros", "zeros", "zeros", "replicate"]))
        return nn.Conv2d(channels, out, **options), out
    options |= {"padding": 0, "output_padding": (0, 1) if stride != 1 else 0}
    return nn.ConvTranspose2d(channels, out, **options), out


def randomise(draw: st.DrawFn, model: nn.Module) -> nn.Module:
    """Statistics, modes, hooks, parametrizations, and what is trained."""
    everything = draw(st.sampled_from(["all", "none", "some", "some"]))
    for module in list(model.modules()):
        module.training = draw(st.booleans())
        if isinstance(module, nn.BatchNorm2d):
            if module.affine:
                nn.init.uniform_(module.weight, -1.5, 1.5)
                nn.init.normal_(module.bias)
            if module.running_mean is not None and module.running_var is not None:
                nn.init.normal_(module.running_mean)
                nn.init.uniform_(module.running_var, 0.2, 2)
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and draw(st.integers(0, 3)) == 0:
            parametrize.register_parametrization(module, "weight", LowRank(module.weight))
        if isinstance(module, nn.BatchNorm2d | nn.Conv2d) and draw(st.integers(0, 7)) == 0:
            module.register_forward_hook(lambda _module, _inputs, output: 1.5 * output)
    for p in model.parameters():
        trained = everything == "all" or (everything == "some" and draw(st.booleans()))
        p.requires_grad_(trained)
    return model


@settings(max_examples=150, deadline=None)
@given(networks(), st.booleans(), st.booleans(), st.booleans())
def test_random_networks_compute_the_same(
    model: nn.Module, input_is_trained: bool, channels_last: bool, fold: bool
) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 4, 6, 5, dtype=torch.float64)
    if channels_last:
        x = x.to(memory_format=torch.channels_last)
    x.requires_grad_(input_is_trained)
    assert_same(model, x, tolerance=1e-9, times=2, fold=fold)


@settings(max_examples=25, deadline=None)
@given(networks())
def test_predictions_without_gradients_are_the_same(model: nn.Module) -> None:
    x = torch.randn(2, 4, 6, 5, dtype=torch.float64)
    model.eval()
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            expected = model(x)
            with frugal(model, fold=True):
                assert_close(model(x), expected, 1e-9, "first call")
                assert_close(model(x), expected, 1e-9, "second call")


# --- what is trained, in a small InversionNet ---------------------------------------------------


class Small(nn.Module):
    """InversionNet's blocks, crop and head at toy size: (n, 3, 40, 12) → (n, 1, 14, 8)."""

    def __init__(self) -> None:
        super().__init__()
        shapes = [(3, 8, (7, 1), (2, 1), (3, 0)), (8, 8, (3, 1), 1, (1, 0)), (8, 12, 3, 2, 1)]
        self.encoder = nn.ModuleList(
            Block(nn.Conv2d(*shape), shape[1], nn.LeakyReLU(0.2, inplace=True)) for shape in shapes
        )
        up = nn.ConvTranspose2d(12, 8, 4, 2, 1)
        self.decoder = Block(up, 8, nn.LeakyReLU(0.2, inplace=True))
        self.refine = Block(nn.Conv2d(8, 8, 3, 1, 1), 8, nn.LeakyReLU(0.2, inplace=True))
        self.prompt = nn.Parameter(torch.zeros(3, 40, 12), requires_grad=False)
        self.head = Block(nn.Conv2d(8, 1, 3, 1, 1), 1, nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.prompt
        for block in self.encoder:
            x = block(x)
        x = self.refine(self.decoder(x))
        y: Tensor = self.head(F.pad(x, (-2, -2, -3, -3)))
        return y


def lora(model: nn.Module) -> None:
    for module in list(model.modules()):
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            parametrize.register_parametrization(module, "weight", LowRank(module.weight))


def trained(model: nn.Module, choose: Callable[[str], bool]) -> None:
    for name, p in model.named_parameters():
        p.requires_grad_(choose(name))


SUBSETS: dict[str, Callable[[nn.Module], None]] = {
    "all": lambda m: trained(m, lambda name: name != "prompt"),
    "lora": lambda m: (lora(m), trained(m, lambda name: name[-2:] in (".a", ".b")))[0],
    "biases": lambda m: trained(m, lambda name: name.endswith("bias")),
    "batchnorm": lambda m: trained(m, lambda name: "layers.1." in name),
    "shifts": lambda m: trained(m, lambda name: name.endswith("layers.1.bias")),
    "last": lambda m: trained(m, lambda name: name.startswith(("head", "deconv6"))),
    "prompt": lambda m: trained(m, lambda name: name == "prompt"),
    "nothing": lambda m: trained(m, lambda name: False),
}


def small(subset: str, *, batch_statistics: bool) -> nn.Module:
    torch.manual_seed(0)
    model = Small()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.3)
            nn.init.uniform_(module.running_var, 0.1, 1)
            nn.init.uniform_(module.weight, -1.5, 1.5)
            module.train(batch_statistics)
    nn.init.constant_(model.head.layers[1].weight, 0.2)  # away from tanh's saturation
    SUBSETS[subset](model)
    return model


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("batch_statistics", [False, True])
@pytest.mark.parametrize("subset", SUBSETS)
@pytest.mark.parametrize("fold", [None, True])
def test_every_trainable_subset_in_float32(
    subset: str, batch_statistics: bool, layout: torch.memory_format, fold: bool | None
) -> None:
    model = small(subset, batch_statistics=batch_statistics)
    x = torch.randn(4, 3, 40, 12).to(memory_format=layout)
    assert_same(model, x, tolerance=1e-5, times=2, fold=fold)


@pytest.mark.parametrize("batch_statistics", [False, True])
@pytest.mark.parametrize("subset", SUBSETS)
def test_outputs_and_running_statistics_are_bit_equal_in_float32(
    subset: str, batch_statistics: bool
) -> None:
    model = small(subset, batch_statistics=batch_statistics)
    x = torch.randn(4, 3, 40, 12)
    stock, ours = (step(model, x, frugally=frugally, times=3) for frugally in (False, True))
    assert torch.equal(stock[0], ours[0])
    assert all(torch.equal(buffer, ours[2][name]) for name, buffer in stock[2].items())


@pytest.mark.parametrize("subset", ["all", "lora", "biases", "batchnorm"])
@pytest.mark.parametrize("batch_statistics", [False, True])
def test_bfloat16_autocast_differs_by_rounding(subset: str, batch_statistics: bool) -> None:
    model = small(subset, batch_statistics=batch_statistics)
    x = torch.randn(8, 3, 40, 12).to(memory_format=torch.channels_last)
    exact = step(model, x, frugally=False)
    with torch.autocast("cpu", torch.bfloat16):
        stock, ours = (step(model, x, frugally=frugally) for frugally in (False, True))
    assert ours[0].dtype == stock[0].dtype == torch.bfloat16
    total: dict[str, list[Tensor]] = {"exact": [], "stock": [], "ours": []}
    for name, gradient in exact[1].items():
        if gradient is not None:
            for kind, run in zip(total, (exact, stock, ours), strict=True):
                value = run[1][name]
                assert value is not None and value.dtype == torch.float32
                total[kind].append(value.flatten())
    reference = torch.cat(total["exact"])
    errors = {k: float((torch.cat(v) - reference).norm()) for k, v in total.items()}
    assert errors["ours"] < 1.5 * errors["stock"], errors
    assert errors["ours"] < 0.1 * float(reference.norm()), (errors, float(reference.norm()))


def test_two_runs_agree_bit_for_bit() -> None:
    model = small("lora", batch_statistics=False)
    x = torch.randn(4, 3, 40, 12)
    first, second = (step(model, x, frugally=True, times=2) for _ in range(2))
    assert all(
        gradient is None or torch.equal(gradient, second[1][name])  # type: ignore[arg-type]
        for name, gradient in first[1].items()
    )


# --- unusual uses -------------------------------------------------------------------------------


class Twice(nn.Module):
    """A block that runs twice, and a sum past it."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.out = nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.block(x)
        y: Tensor = self.out(first + self.block(first))
        return y


@pytest.mark.parametrize("training", [True, False])
def test_a_module_used_twice(training: bool) -> None:
    torch.manual_seed(0)
    model = Twice().double().train(training)
    assert_same(model, torch.randn(3, 4, 5, 5).double(), tolerance=1e-9, times=2)


class Overwriting(nn.Module):
    """Changes a block's output in place before the next layer sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
        self.out = nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.out(self.block(x).mul_(3))
        return y


def test_an_output_changed_in_place_is_not_computed_again_unchanged() -> None:
    torch.manual_seed(0)
    assert_same(Overwriting().double(), torch.randn(3, 4, 5, 5).double(), tolerance=1e-9)


class InPlace(nn.Module):
    """Relies on an activation that overwrites its input."""

    def __init__(self, act: nn.Module) -> None:
        super().__init__()
        self.conv, self.act, self.out = nn.Conv2d(4, 4, 3), act, nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        self.act(x)
        y: Tensor = self.out(x)
        return y


def test_an_activation_that_overwrites_its_input_does() -> None:
    torch.manual_seed(0)
    sequence = nn.Sequential(nn.LeakyReLU(inplace=True), nn.Tanh())
    for act in (nn.ReLU(inplace=True), nn.LeakyReLU(inplace=True), sequence):
        x = torch.randn(3, 4, 5, 5).double()
        assert_same(InPlace(act).double(), x, tolerance=1e-9)


def test_one_and_three_dimensions() -> None:
    torch.manual_seed(0)
    line = nn.Sequential(nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.LeakyReLU(), nn.Conv1d(4, 2, 1))
    cube = nn.Sequential(nn.ConvTranspose3d(2, 4, 2, 2), nn.BatchNorm3d(4), nn.ReLU())
    flat = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2))
    for model, shape in ((line, (3, 2, 9)), (cube, (2, 2, 3, 4, 3)), (flat, (5, 3))):
        x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
        assert_same(model.double(), x, tolerance=1e-9)


def test_float32_inversionnet_with_low_rank_updates() -> None:
    """Depth turns a rounding error into another activation's sign; ours makes none forward."""
    torch.manual_seed(0)
    model = InversionNet().eval()
    SUBSETS["lora"](model)
    assert_same(model, torch.randn(1, 5, 1000, 70), tolerance=1e-5)


def test_backward_twice_through_one_graph_and_for_some_parameters_only() -> None:
    model = small("all", batch_statistics=True).double()
    x = torch.randn(4, 3, 40, 12, dtype=torch.float64)
    weight = model.get_parameter("encoder.1.layers.0.weight")

    def gradients() -> tuple[Tensor, ...]:
        loss = model(x).square().sum()
        (alone,) = torch.autograd.grad(loss, weight, retain_graph=True)
        model.zero_grad()
        loss.backward(retain_graph=True)
        loss.backward()
        return (alone, *(p.grad.clone() for p in model.parameters() if p.grad is not None))

    expected = gradients()
    with frugal(model):
        found = gradients()
    scale = max(float(e.abs().max()) for e in expected)
    for got, wanted in zip(found, expected, strict=True):
        assert_close(got, wanted, 1e-9, "gradient", scale)


def test_one_value_per_channel_is_refused_as_by_torch() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 4), nn.BatchNorm2d(3))
    with frugal(model), pytest.raises(ValueError, match="more than 1 value per channel"):
        model(torch.randn(1, 2, 4, 4))


def test_frozen_weights_are_folded_anew_when_they_change() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)).requires_grad_(False).eval()
    other = copy.deepcopy(model)
    with torch.no_grad():
        other[0].weight.mul_(2)
    x = torch.randn(4, 2, 6, 6)
    with frugal(model, fold=True):
        assert_close(model(x), copy_of_stock(model)(x), 1e-5, "at the start")
        model[1].train()
        model(5 + 3 * x)  # moves the running statistics, unseen by autograd's versions
        model[1].eval()
        assert_close(model(x), copy_of_stock(model)(x), 1e-5, "after new statistics")
        model.load_state_dict(other.state_dict())
        assert_close(model(x), other(x), 1e-5, "after loading")


def copy_of_stock(model: nn.Sequential) -> nn.Module:
    """The same convolution and BatchNorm, outside any frugal context."""
    fresh = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)).eval()
    fresh.load_state_dict(model.state_dict())
    return fresh


# --- leaves no trace, and respects what it does not know ----------------------------------------


def test_the_model_is_the_same_inside_and_after() -> None:
    model = small("lora", batch_statistics=False)
    before = {name: (type(m), dict(vars(m))) for name, m in model.named_modules()}
    state = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(RuntimeError, match="stop"), frugal(model):
        assert list(model.state_dict()) == list(state)
        model(torch.randn(2, 3, 40, 12)).sum().backward()
        raise RuntimeError("stop")
    for name, module in model.named_modules():
        kind, attributes = before[name]
        assert type(module) is kind
        assert vars(module).keys() == attributes.keys()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_hooks_see_every_layer() -> None:
    model = small("all", batch_statistics=True)
    shapes: list[tuple[int, ...]] = []
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.LeakyReLU):
            module.register_forward_hook(lambda m, i, o: shapes.append(tuple(o.shape)))
    x = torch.randn(2, 3, 40, 12)
    model(x)
    expected = list(shapes)
    shapes.clear()
    with frugal(model):
        model(x)
    assert shapes == expected


class Doubling(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class Whispering(nn.Conv2d):
    def _conv_forward(self, *arguments: Any) -> Tensor:
        return 0.5 * super()._conv_forward(*arguments)


def test_layers_with_a_forward_of_their_own_keep_it() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(Doubling(2, 3, 1), nn.BatchNorm2d(3), Whispering(3, 3, 1), nn.ReLU())
    tanh = nn.Tanh()
    tanh.forward = lambda x: x + 7  # type: ignore[method-assign]  # what a user may do
    model.append(tanh)
    x = torch.randn(2, 2, 4, 4)
    model.eval()
    expected = model(x)
    with frugal(model):
        assert_close(model(x), expected, 1e-6, "output")
    assert "forward" in vars(tanh)


def test_wrong_inputs_fail_as_in_stock_torch() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(4), nn.ReLU())
    with frugal(model), pytest.raises(RuntimeError):
        model(torch.randn(2, 2, 4, 4))
    with frugal(model), pytest.raises(RuntimeError):
        model(torch.randn(2, 2, 4, 4, dtype=torch.float64))


# --- bytes ----------------------------------------------------------------------------------------


def test_saved_bytes_by_hand() -> None:
    weight = nn.Parameter(torch.randn(6, 4, 1, 1))
    x = torch.randn(2, 4, 3, 3)
    # The convolution saves x (288 bytes) and its own weight; tanh saves its output (432 bytes).
    assert saved_bytes(lambda: torch.tanh(F.conv2d(x, weight)), resident=[weight]) == 288 + 432
    assert saved_bytes(lambda: torch.tanh(F.conv2d(x, weight)), resident=[weight, x]) == 432
    assert saved_bytes(lambda: F.conv2d(x, weight.detach()), resident=[]) == 0
    # Products save both factors, one of them the same for every sample.
    scale = torch.randn(5, requires_grad=True)
    per_sample = saved_bytes_per_sample(lambda n: (torch.ones(n, 5) * scale).exp(), resident=[])
    assert per_sample == 2 * 5 * 4


def inversionnet(subset: str) -> nn.Module:
    model = InversionNet().to(memory_format=torch.channels_last)
    if subset == "prompt":
        model.requires_grad_(False)
    else:
        SUBSETS[subset](model)
    return model.eval()


@pytest.mark.parametrize(
    ("subset", "limit"),
    [
        ("all", 0.53),
        ("lora", 0.53),
        ("biases", 0.035),
        ("batchnorm", 0.23),
        ("last", 0.013),
        ("prompt", 0.035),
        ("nothing", 0.0),
    ],
)
def test_inversionnet_keeps_the_memory_promise(subset: str, limit: float) -> None:
    """Bytes per sample relative to stock full fine-tuning, 27.2 MiB."""
    model = inversionnet(subset)
    records = torch.randn(4, 5, 1000, 70).contiguous(memory_format=torch.channels_last)
    prompt = torch.zeros(5, 1000, 70, requires_grad=subset == "prompt")

    def forward(samples: int) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            y: Tensor = model(records[:samples] + prompt)
        return y

    resident = [*model.parameters(), *model.buffers(), prompt]
    stock_full = 27.2 * 2**20
    if subset == "all":
        stock = saved_bytes_per_sample(forward, resident=resident)
        assert stock == pytest.approx(stock_full, rel=0.01)
    with frugal(model):
        ours = saved_bytes_per_sample(forward, resident=resident)
    assert ours <= limit * stock_full


# --- the parts ----------------------------------------------------------------------------------


@given(
    st.lists(st.sampled_from([-2.0, -0.0, 0.0, 1e-30, 3.0]), min_size=1, max_size=40),
    st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
)
def test_signs_survive_packing(values: list[float], dtype: torch.dtype) -> None:
    y = torch.tensor(values, dtype=torch.float64).to(dtype)
    packed = pack_signs(y)
    assert packed.numel() == -(-len(values) // 8)
    assert torch.equal(unpack_signs(packed, y.shape, y.stride(), y.dtype) > 0, y > 0)


def test_signs_keep_the_layout() -> None:
    y = torch.randn(3, 5, 4, 2).to(memory_format=torch.channels_last)
    signs = unpack_signs(pack_signs(y), y.shape, y.stride(), y.dtype)
    assert signs.stride() == y.stride() and torch.equal(signs > 0, y > 0)
    assert fills_memory(y) and fills_memory(y[:1]) and fills_memory(y.transpose(1, 2))
    assert not fills_memory(y[:, :2]) and not fills_memory(y[:1].expand(3, 5, 4, 2))


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_input_gradient_by_the_adjoint_convolution(data: st.DataObject) -> None:
    module, _ = convolution(data.draw, 4, transposed=data.draw(st.booleans()))
    module = module.double()
    assert isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    x = torch.randn(2, 4, 7, 6, dtype=torch.float64, requires_grad=True)
    module.padding_mode = "zeros"
    y = module(x)
    g = torch.randn_like(y)
    (expected,) = torch.autograd.grad(y, x, g)
    geometry = Convolution(
        stride=module.stride,
        padding=tuple(int(width) for width in module.padding),
        dilation=module.dilation,
        transposed=module.transposed,
        output_padding=module.output_padding,
        groups=module.groups,
    )
    assert geometry.output_numel(x.shape, module.weight) == y.numel()
    got = geometry.input_gradient(g, x.shape, module.weight.detach())
    torch.testing.assert_close(got, expected)
