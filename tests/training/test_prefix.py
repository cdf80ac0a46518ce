"""Steps that begin at kept activations: the same losses and weights, and only where they may be."""

# On two threads a sample's activations may depend on the size of its batch: even ones are used here
# wherever the boundary itself is tested.

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import matrix
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.conformance import toy_networks
from bench.contract import Adapted, Config, Method, ParameterGroup, Traits
from bench.data.subsets import Indices, batch_order
from bench.models import backbones
from bench.plugins import adaptation, batchnorm, registry
from bench.plugins.adaptation import Checked
from bench.seeds import seed_everything
from bench.training import train
from bench.training.numerics import Numerics
from bench.training.prefix import FrozenPrefix

CPU = torch.device("cpu")
FLOAT32 = Numerics(device=CPU, bfloat16=False)
BFLOAT16 = Numerics(device=CPU, bfloat16=True)
SAMPLES, BATCH, EPOCHS = 6, 3, 6
PLENTY = 10**9


class Records:
    """A loader of random records that counts those it gives out."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(1)
        x = torch.randn((SAMPLES, 1000, 70, 5), generator=generator)
        self._x, self.given = x.half(), 0
        self._y = torch.rand((SAMPLES, 1, 70, 70), generator=generator) - 0.5

    def batches(self, order: Sequence[Indices]) -> Iterator[tuple[Tensor, Tensor]]:
        for indices in order:
            self.given += len(indices)
            yield self._x[indices].permute(0, 3, 1, 2), self._y[indices]


def fitted(
    adapted: Checked, policy: Any, *, budget: int, numerics: Numerics, first_epoch: int = 0
) -> tuple[list[float], dict[str, Tensor], FrozenPrefix, Records]:
    """Losses and state after the epochs of a fit, from `first_epoch` on."""
    numerics.place(adapted.model)
    records: Any = Records()
    prefix = FrozenPrefix(adapted, SAMPLES, budget_bytes=budget, numerics=numerics)

    def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        seed_everything(epoch)
        order = batch_order(
            SAMPLES, batch=BATCH, seed=0, datasets=("Style_A",), percent=100, epoch=epoch
        )
        return prefix.batches(records, order)

    curve = train.fit(
        adapted,
        train.optimiser(adapted, 1.0),
        batches,
        batchnorm=policy,
        epochs=range(first_epoch, EPOCHS),
        total_epochs=EPOCHS,
        steps_per_epoch=2,
        numerics=numerics,
        prefix=prefix,
    )
    losses = [epoch.loss for epoch in curve]
    state = {name: value.clone() for name, value in adapted.model.state_dict().items()}
    return losses, state, prefix, records


def both(
    method: Method, network: Callable[[], nn.Module], numerics: Numerics, **options: Any
) -> tuple[FrozenPrefix, Records]:
    """Fit without and with a budget; the results must not differ in a bit."""
    config = method.config(**options)
    policy = batchnorm.effective(method, config).traits.batchnorm
    results = []
    for budget in (0, PLENTY):
        seed_everything(0)
        adapted = adaptation.adapt(method, network(), config)
        results.append(fitted(adapted, policy, budget=budget, numerics=numerics))
    (losses, state, unused, _), (other_losses, other_state, prefix, records) = results
    assert unused.nbytes == 0
    assert losses == other_losses
    assert state.keys() == other_state.keys()
    for name, value in state.items():
        assert torch.equal(value, other_state[name]), name
    return prefix, records


@cache
def settled() -> nn.Module:
    seed_everything(0)
    return toy_networks.convolutional()


def eighth() -> nn.Module:
    """InversionNet with an eighth of its channels."""
    return copy.deepcopy(settled())


def hybrid() -> nn.Module:
    return backbones.build("hybrid_vit")


@pytest.mark.parametrize(
    "numerics", matrix.part([FLOAT32, BFLOAT16], FLOAT32), ids=lambda n: str(n.dtype)
)
@pytest.mark.parametrize(
    ("name", "options", "values"),
    [
        ("head", {}, 4 * 80 * 80),
        ("surgical", {}, 32 * 10 * 10),
        ("lora", {"layers": "deconv4_1,deconv5_2", "rank": 4}, 16 * 20 * 20),
    ],
)
def test_late_methods_begin_at_the_boundary_with_the_same_bits(
    name: str, options: dict[str, Any], values: int, numerics: Numerics
) -> None:
    """An eighth of InversionNet's channels: what enters `deconv6`, `deconv2_2`, `deconv4_1`."""
    prefix, records = both(registry.load().get(name).method, eighth, numerics, **options)
    assert prefix.nbytes == SAMPLES * values * numerics.dtype.itemsize
    assert records.given == SAMPLES, "records are read in the first epoch alone"


@pytest.mark.parametrize("numerics", [FLOAT32, BFLOAT16], ids=["float32", "bfloat16"])
@pytest.mark.exhaustive
def test_a_transformer_begins_at_its_last_part(numerics: Numerics) -> None:
    prefix, records = both(registry.load().get("head").method, hybrid, numerics)
    assert prefix.nbytes > 0
    assert records.given == SAMPLES


def test_the_first_stage_of_two_is_reused_and_the_second_is_not() -> None:
    method = registry.load().get("lp_ft").method
    prefix, records = both(method, eighth, FLOAT32, head_only=0.7)
    assert prefix.nbytes == SAMPLES * 4 * 4 * 80 * 80
    assert records.given == SAMPLES * (1 + 1), "the first and the last of six epochs"


def test_batches_of_two_sizes_give_the_same_bits_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels may add up in another order for another size: then the boundary is an earlier one."""
    monkeypatch.setitem(globals(), "SAMPLES", 7)
    monkeypatch.setitem(globals(), "BATCH", 4)
    prefix, records = both(registry.load().get("head").method, eighth, FLOAT32)
    assert prefix.nbytes > 0
    assert records.given == SAMPLES


def test_too_short_a_stage_is_not_worth_it() -> None:
    method = registry.load().get("lp_ft").method
    prefix, records = both(method, eighth, FLOAT32, head_only=0.5)
    assert prefix.nbytes == 0
    assert records.given == SAMPLES * EPOCHS


@pytest.mark.parametrize("name", matrix.part(["fft", "lora", "bias", "adapter", "l2sp"], "bias"))
def test_methods_that_begin_early_run_as_they_do(name: str) -> None:
    options = {"rank": 4} if name == "lora" else {}
    prefix, records = both(registry.load().get(name).method, eighth, FLOAT32, **options)
    assert prefix.nbytes == 0
    assert records.given == SAMPLES * EPOCHS


def test_an_earlier_boundary_is_taken_where_memory_is_short() -> None:
    """`deconv5_2` and `deconv5_1` make 4 × 80 × 80 numbers, `deconv4_2` 8 × 40 × 40."""
    method = registry.load().get("head").method
    adapted = adaptation.adapt(method, eighth(), Config())
    each = 4 * 8 * 40 * 40
    *_, prefix, _ = fitted(
        adapted, "affine", budget=SAMPLES * (each + 4 * 70 * 70), numerics=FLOAT32
    )
    assert prefix.nbytes == SAMPLES * each
    adapted = adaptation.adapt(method, eighth(), Config())
    *_, prefix, _ = fitted(adapted, "affine", budget=SAMPLES * 4 * 70 * 70, numerics=FLOAT32)
    assert prefix.nbytes == 0, "the maps alone would take it"


def test_a_fit_that_goes_on_from_a_checkpoint_ends_the_same() -> None:
    """The activations are no part of a checkpoint: they are computed once more."""
    method = registry.load().get("head").method

    def start() -> Checked:
        seed_everything(0)
        return adaptation.adapt(method, eighth(), Config())

    losses = [
        fitted(start(), "affine", budget=budget, numerics=FLOAT32, first_epoch=2)[0]
        for budget in (0, PLENTY)
    ]
    assert losses[0] == losses[1]


def test_stock_layers_are_left_alone() -> None:
    method = registry.load().get("head").method
    prefix, records = both(method, eighth, replace(FLOAT32, frugal=False))
    assert prefix.nbytes == 0
    assert records.given == SAMPLES * EPOCHS


# --- networks and methods that look fixed and are not -------------------------------------------


class Chain(nn.Module):
    """Two frozen blocks, of which subclasses make something else, and a trained one."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(5, 4, (100, 7), (100, 7)), nn.BatchNorm2d(4), nn.ReLU()
        )
        self.second = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())
        self.last = nn.Linear(4 * 10 * 10, 70 * 70)

    def features(self, x: Tensor) -> Tensor:
        out: Tensor = self.second(self.first(x))
        return out

    def end(self, z: Tensor) -> Tensor:
        out: Tensor = self.last(z.flatten(1)).view(-1, 1, 70, 70)
        return out

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.features(x))


class Noisy(Chain):
    def features(self, x: Tensor) -> Tensor:
        return super().features(x + 0.1 * torch.randn_like(x))


class NumpyNoise(Chain):
    def features(self, x: Tensor) -> Tensor:
        return super().features(x * float(np.random.random()))  # noqa: NPY002


class Skip(Chain):
    """What enters the second block is used behind it."""

    def features(self, x: Tensor) -> Tensor:
        y = self.first(x)
        z = self.second(y)
        return torch.where(z > 0.1, y, z)


class LooksBack(Chain):
    """The records themselves are used at the end."""

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.features(x)) + x.mean(dim=(1, 2, 3), keepdim=True)


class OfTheBatch(Chain):
    """What one sample gives depends on the others."""

    def __init__(self) -> None:
        super().__init__()
        self.third = nn.Conv2d(4, 4, 1)

    def features(self, x: Tensor) -> Tensor:
        z = super().features(x)
        out: Tensor = self.third(z - z.mean(0))
        return out


class Counting(Chain):
    """A buffer moves with every batch."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()), persistent=False)

    def features(self, x: Tensor) -> Tensor:
        self.get_buffer("seen").add_(1)
        return super().features(x * (1 + self.get_buffer("seen") / 100))


class Grows(Chain):
    """The second block changes what it is given."""

    def features(self, x: Tensor) -> Tensor:
        z = self.first(x)
        out: Tensor = self.second(z.mul_(2)) + z
        return out


def last(model: nn.Module, config: Config) -> Adapted:
    group = ParameterGroup(name="last", parameters=tuple(model.get_submodule("last").parameters()))
    return Adapted(model=model, groups=(group,))


def method_of(adapt: Any, policy: Any = "frozen") -> Method:
    traits = Traits(category="selective", batchnorm=policy, identity_at_start=False)
    return Method(name="mine", summary="", source="", traits=traits, adapt=adapt)


def test_the_chain_itself_begins_at_its_last_layer() -> None:
    prefix, records = both(method_of(last), Chain, FLOAT32)
    assert prefix.nbytes == SAMPLES * 4 * 4 * 10 * 10
    assert records.given == SAMPLES


def late(model: nn.Module, config: Config) -> Adapted:
    parameters = tuple(model.get_submodule("last").parameters())
    group = ParameterGroup(name="last", parameters=parameters, active=(0.7, 1.0))
    return Adapted(model=model, groups=(group,))


def test_while_nothing_trains_yet_the_whole_network_is_fixed() -> None:
    prefix, records = both(method_of(late), Chain, FLOAT32)
    assert prefix.nbytes > 0
    assert records.given < SAMPLES * EPOCHS


@pytest.mark.parametrize("network", [Noisy, NumpyNoise, LooksBack, Counting])
def test_networks_whose_activations_are_not_fixed_are_left_alone(
    network: Callable[[], nn.Module],
) -> None:
    prefix, records = both(method_of(last), network, FLOAT32)
    assert prefix.nbytes == 0
    assert records.given == SAMPLES * EPOCHS


@pytest.mark.parametrize("network", [Skip, OfTheBatch, Grows])
def test_what_crosses_the_boundary_in_another_way_changes_nothing(
    network: Callable[[], nn.Module],
) -> None:
    both(method_of(last), network, FLOAT32)


def with_statistics(model: nn.Module, config: Config) -> Adapted:
    norm = model.get_submodule("first.1")
    groups = last(model, config).groups
    extra = ParameterGroup(name="norm", parameters=tuple(norm.parameters()))
    return Adapted(model=model, groups=(*groups, extra))


def noisy_input(model: nn.Module, config: Config) -> Adapted:
    model.register_forward_pre_hook(lambda _, args: (args[0] + 0.1 * torch.randn_like(args[0]),))
    return last(model, config)


def scaled_input(model: nn.Module, config: Config) -> Adapted:
    """A hook that doubles the records from some call on, and draws no random numbers."""
    calls = iter(range(10**6))
    model.register_forward_pre_hook(lambda _, args: (args[0] * (1 + (next(calls) > 8)),))
    return last(model, config)


def scaled_within(model: nn.Module, config: Config) -> Adapted:
    """The same between the two blocks."""
    calls = iter(range(10**6))
    hook = model.get_submodule("first").register_forward_hook
    hook(lambda _, args, out: out * (1 + (next(calls) > 8)))
    return last(model, config)


class Wrapped(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x)
        return out


def wrapped(model: nn.Module, config: Config) -> Adapted:
    return replace(last(model, config), model=Wrapped(model))


def dropout(model: nn.Module, config: Config) -> Adapted:
    first = model.get_submodule("first")
    assert isinstance(first, nn.Sequential)
    first.append(nn.Dropout(0.5))
    return last(model, config)


def late_dropout(model: nn.Module, config: Config) -> Adapted:
    """Behind the boundary random numbers are no one's business."""
    adapted = last(model, config)
    model.add_module("last", nn.Sequential(nn.Dropout(0.5), model.get_submodule("last")))
    return adapted


def own_step(model: nn.Module, config: Config) -> Adapted:
    return replace(last(model, config), after_step=lambda: None)


def replaced_forward(model: nn.Module, config: Config) -> Adapted:
    first = model.get_submodule("first")
    original = first.forward
    vars(first)["forward"] = lambda x: 2 * original(x)
    return last(model, config)


@pytest.mark.parametrize(
    ("adapt", "policy"),
    [
        (with_statistics, "both"),
        (last, "statistics"),
        (noisy_input, "frozen"),
        (scaled_input, "frozen"),
        (wrapped, "frozen"),
        (dropout, "frozen"),
        (own_step, "frozen"),
        (replaced_forward, "frozen"),
    ],
)
def test_methods_that_touch_what_comes_early_are_left_alone(adapt: Any, policy: Any) -> None:
    prefix, records = both(method_of(adapt, policy), Chain, FLOAT32)
    assert prefix.nbytes == 0
    assert records.given == SAMPLES * EPOCHS


def test_a_hook_within_forbids_it() -> None:
    adapted = adaptation.adapt(method_of(scaled_within), Chain(), Config())
    *_, prefix, _ = fitted(adapted, "frozen", budget=PLENTY, numerics=FLOAT32)
    assert prefix.nbytes == 0


def test_dropout_behind_the_boundary_draws_the_same_numbers() -> None:
    prefix, _ = both(method_of(late_dropout), Chain, FLOAT32)
    assert prefix.nbytes > 0


def test_what_changes_later_on_ends_it() -> None:
    """A hook of the trained layer that changes a frozen weight in place, in the fourth epoch."""

    def sly(model: nn.Module, config: Config) -> Adapted:
        calls = iter(range(10**6))

        def hook(*_: Any) -> None:
            if next(calls) == 11:
                with torch.no_grad():
                    model.get_parameter("first.0.weight").mul_(1.5)

        model.get_submodule("last").register_forward_hook(hook)
        return last(model, config)

    adapted = adaptation.adapt(method_of(sly), Chain(), Config())
    _, _, prefix, records = fitted(adapted, "frozen", budget=PLENTY, numerics=FLOAT32)
    assert prefix.nbytes > 0
    assert SAMPLES < records.given < SAMPLES * EPOCHS
