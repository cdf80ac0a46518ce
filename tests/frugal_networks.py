"""Networks for the tests of the frugal pass, and the comparison with stock PyTorch."""

import copy
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from bench.models.backbones.inversionnet import Block
from bench.models.frugal import frugal


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
                weights = (
                    (1.1 + torch.arange(y.numel(), device=y.device).cos()).to(y.dtype).view_as(y)
                )
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
    # batch statistics has a gradient of zero. The largest gradient of the network sets the scale,
    # and where all are zero, as with such a bias alone, an error of 1e-12 is rounding.
    sizes = [float(g.abs().max()) for g in stock[1].values() if g is not None]
    for name, expected in stock[1].items():
        got = ours[1][name]
        assert (got is None) == (expected is None), name
        if got is not None and expected is not None:
            assert got.dtype == expected.dtype and got.shape == expected.shape
            floor = max(1e-2 * max(sizes), 1e-12 / tolerance)
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


# --- a small InversionNet, and what may be trained in it --------------------------------------


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
