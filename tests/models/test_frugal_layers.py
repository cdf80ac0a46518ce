"""The frugal pass on networks of all kinds: the numbers of stock PyTorch, and no trace left."""

import copy
from typing import Any

import pytest
import torch
from frugal_networks import assert_close, assert_same, networks, small
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bench.models.frugal import frugal


@settings(max_examples=150)
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


def test_gradients_that_are_all_rounding_are_the_same() -> None:
    """Of a bias before batch statistics, the one parameter that is trained."""
    torch.manual_seed(0)
    layers = (nn.ConvTranspose2d(4, 2, 1), nn.BatchNorm2d(2, affine=False), nn.Tanh())
    model = nn.Sequential(*layers).double().requires_grad_(False)
    model[0].bias.requires_grad_(True)
    for _ in range(5):
        x = torch.randn(3, 4, 6, 5, dtype=torch.float64)
        for kept in (x, x.to(memory_format=torch.channels_last)):
            assert_same(model, kept, tolerance=1e-9, times=2, fold=False)


@settings(max_examples=25)
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
