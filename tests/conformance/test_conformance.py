"""Every installed method passes the suite, and the suite catches what breaks the contract."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import matrix
import numpy as np
import pytest
import torch
from pydantic import ConfigDict, Field, ValidationError
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from bench import conformance
from bench.conformance import toy_networks
from bench.conformance.case import Case
from bench.conformance.learning import options_have_an_effect
from bench.contract import Adapted, Config, Method, ParameterGroup, Traits
from bench.errors import ConfigError, MethodError
from bench.models import delta
from bench.plugins import adaptation, registry


@pytest.mark.parametrize("name", matrix.part(sorted(registry.load().methods), *matrix.METHODS))
def test_installed_method_conforms(name: str) -> None:
    conformance.check_method(registry.load().get(name).method)


def group(*parameters: nn.Parameter) -> tuple[ParameterGroup, ...]:
    return (ParameterGroup(name="all", parameters=parameters),)


def head(model: nn.Module) -> tuple[nn.Parameter, ...]:
    return tuple(model.get_submodule("deconv6").parameters())


def head_tuning(model: nn.Module, config: Config) -> Adapted:
    return Adapted(model=model, groups=group(*head(model)), merge=lambda: model)


GOOD = Method(
    name="good",
    summary="Trains the last block.",
    source="This test",
    traits=Traits(category="selective", batchnorm="affine", mergeable=True),
    adapt=head_tuning,
)


def broken(adapt: Callable[[nn.Module, Any], Any], **changes: Any) -> Method:
    return replace(GOOD, **{"name": "broken", "adapt": adapt} | changes)


def test_a_good_method_passes_with_its_count() -> None:
    results = conformance.run(GOOD, trainable=4 * 9 + 1 + 2)
    assert all(r.passed for r in results), results
    assert len({r.name for r in results}) == len(results)
    assert all(r.meaning.endswith(".") and r.detail for r in results)


def normalised(model: nn.Module, config: Config) -> Adapted:
    """Weight normalisation of torch: the trained direction lies in the memory of the weight."""
    layer = model.get_submodule("deconv6.layers.0")
    parametrizations.weight_norm(layer)
    return Adapted(model=model, groups=group(*layer.parameters()))


class Averaging(nn.Module):
    """Scales the prediction, and keeps a running mean of it in training."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.gain = model, nn.Parameter(torch.ones(1))
        self.register_buffer("mean", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.gain * self.model(x)
        if self.training:
            self.mean.lerp_(y.detach().mean(), 0.1)
        return y + 0 * self.mean


def averaging(model: nn.Module, config: Config) -> Adapted:
    model = Averaging(model)
    return Adapted(model=model, groups=group(model.gain))


class Shared(nn.Module):
    """Two scales that are one parameter."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.first = self.second = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.first * self.second * self.model(x)


def shared(model: nn.Module, config: Config) -> Adapted:
    model = Shared(model)
    return Adapted(model=model, groups=group(model.first))


def counting(model: nn.Module, config: Config) -> Adapted:
    """Draws from the generators that a run seeds, numpy's and Python's among them."""
    model = Wrapped(model, lambda y: y)
    model.register_buffer("chance", torch.tensor([random.random(), np.random.rand()]))  # noqa: NPY002
    return Adapted(model=model, groups=group(model.gain))


@pytest.mark.parametrize(
    ("adapt", "traits"),
    [
        (normalised, {"identity_at_start": False, "batchnorm": "frozen"}),
        (averaging, {"category": "additive", "batchnorm": "frozen"}),
        (shared, {"category": "additive", "batchnorm": "frozen"}),
        (counting, {"category": "additive", "batchnorm": "frozen"}),
    ],
)
def test_what_the_contract_allows_passes(
    adapt: Callable[[nn.Module, Any], Adapted], traits: dict[str, Any]
) -> None:
    changed = replace(GOOD.traits, **{"mergeable": False} | traits)
    conformance.check_method(broken(adapt, traits=changed))


def test_own_running_averages_are_saved_and_the_foundation_stays() -> None:
    """A run's checks say the same: an adapter's own buffers may move, those it was given not."""
    model = toy_networks.convolutional()
    adapted = adaptation.adapt(
        broken(averaging, traits=Traits(category="additive")), model, Config()
    )
    before = {name: value.clone() for name, value in adapted.model.state_dict().items()}
    method = broken(averaging, traits=Traits(category="additive"))
    adapted.model.get_buffer("mean").fill_(3.0)
    adaptation.check_frozen(method, adapted, before)
    assert set(delta.extract(adapted.model, before)) == {"gain", "mean"}
    adapted.model.get_buffer("model.convblock1.layers.1.running_mean").add_(1)
    with pytest.raises(MethodError, match=r"changed 'model\.convblock1\.layers\.1\.running_mean'"):
        adaptation.check_frozen(method, adapted, before)


def differs_frugally(factor: float) -> Callable[[nn.Module, Config], Adapted]:
    """The gradient has a factor, in runs only: there the forward of torch's layers is replaced."""

    def adapt(model: nn.Module, config: Config) -> Adapted:
        def scale(module: nn.Module, inputs: Any, y: Tensor) -> Tensor:
            replaced = "forward" in vars(model.get_submodule("deconv6.layers"))
            return y.detach() + (factor if replaced else 1) * (y - y.detach())

        model.register_forward_hook(scale)
        (fast,) = group(*head(model))  # so that losses show it within the steps of the suite
        return Adapted(model=model, groups=(replace(fast, learning_rate_scale=10.0),))

    return adapt


@pytest.mark.parametrize(
    ("factor", "says"), [(-1.0, "a loss comes to differ"), (2.0, "a gradient differs by 1 of the")]
)
def test_training_must_be_the_same_in_runs(factor: float, says: str) -> None:
    """Adam does not see a factor on all gradients; the comparison of gradients does."""
    traits = replace(GOOD.traits, mergeable=False)
    results = conformance.run(broken(differs_frugally(factor), traits=traits))
    told = {r.name: r.detail for r in results if not r.passed}
    assert says in told["trains alike frugally"], told


def test_a_wrong_count_is_told() -> None:
    with pytest.raises(conformance.NonconformanceError, match="39 parameters are trainable, 291"):
        conformance.check_method(GOOD, trainable=291)


# --- methods that break the contract, each in one way ---------------------------------------------


def changes_a_frozen_weight(model: nn.Module, config: Config) -> Adapted:
    def after_step() -> None:
        with torch.no_grad():
            model.get_parameter("convblock1.layers.0.weight").mul_(1.01)

    return Adapted(model=model, groups=group(*head(model)), after_step=after_step)


def changes_a_frozen_weight_at_once(model: nn.Module, config: Config) -> Adapted:
    with torch.no_grad():
        model.get_parameter("deconv5_1.layers.0.weight").mul_(1.5)
    return Adapted(model=model, groups=group(*head(model)))


def leaks_statistics(model: nn.Module, config: Config) -> Adapted:
    norm = model.get_submodule("convblock1.layers.1")
    norm.register_forward_pre_hook(lambda module, inputs: module.running_mean.add_(0.1) and None)
    return Adapted(model=model, groups=group(*head(model)))


def lists_a_dead_parameter(model: nn.Module, config: Config) -> Adapted:
    model.register_parameter("unused", nn.Parameter(torch.zeros(3)))
    return Adapted(model=model, groups=group(*head(model), model.get_parameter("unused")))


class Wrapped(nn.Module):
    def __init__(self, model: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.model, self.change = model, change
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.change(self.gain * self.model(x))


def wrapped(change: Callable[[Tensor], Tensor]) -> Callable[[nn.Module, Config], Adapted]:
    def adapt(model: nn.Module, config: Config) -> Adapted:
        model = Wrapped(model, change)
        return Adapted(model=model, groups=group(model.gain))

    return adapt


def views_memory(model: nn.Module, config: Config) -> Adapted:
    """Needs the memory of a convolution's output in the order of its axes."""
    first = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    first.register_forward_hook(lambda module, inputs, y: y.view(len(y), -1).view(y.shape))
    return head_tuning(model, config)


def claims_to_merge(model: nn.Module, config: Config) -> Adapted:
    model = Wrapped(model, lambda y: y)
    return Adapted(model=model, groups=group(model.gain), merge=lambda: model.model)


def hides_state(model: nn.Module, config: Config) -> Adapted:
    """Keeps what it has learnt where no delta finds it."""
    model = Wrapped(model, lambda y: y + offset[0])
    offset = [0.0]

    def after_step() -> None:
        offset[0] += 0.1

    return Adapted(model=model, groups=group(model.gain), after_step=after_step)


def draws_its_own_numbers(model: nn.Module, config: Config) -> Adapted:
    model = Wrapped(model, lambda y: y + 0.1 * torch.rand((), generator=unseeded))
    unseeded = torch.Generator()
    unseeded.seed()
    return Adapted(model=model, groups=group(model.gain))


def mixes_the_batch(y: Tensor) -> Tensor:
    return y - y.mean(dim=0, keepdim=True)


def zeroes_weights(model: nn.Module, config: Config) -> Adapted:
    for block in ("convblock1.layers.0", "convblock5_1.layers.0"):
        layer = model.get_submodule(block)
        layer.weight = nn.Parameter(torch.zeros_like(layer.weight))
    return Adapted(model=model, groups=group(*head(model)))


def adds_chance(model: nn.Module, config: Config) -> Adapted:
    model = Wrapped(model, lambda y: y)
    chance = torch.Generator()
    chance.seed()
    model.register_buffer("chance", torch.rand(3, generator=chance))
    return Adapted(model=model, groups=group(model.gain))


GAINS: list[nn.Parameter] = []


def keeps_parameters(model: nn.Module, config: Config) -> Adapted:
    model = Wrapped(model, lambda y: y)
    GAINS.append(model.gain)
    model.gain = GAINS[0]
    return Adapted(model=model, groups=group(model.gain))


def keeps_values(model: nn.Module, config: Config) -> Adapted:
    """Starts where the fit before has ended."""
    model = Wrapped(model, lambda y: y)
    if GAINS:
        model.gain = nn.Parameter(GAINS[0].detach().clone())

    def after_step() -> None:
        GAINS[:] = [model.gain]

    return Adapted(model=model, groups=group(model.gain), after_step=after_step)


def adds_nan(model: nn.Module, config: Config) -> Adapted:
    return replace(head_tuning(model, config), penalty=lambda: torch.tensor(float("nan")))


def rests(model: nn.Module, config: Config) -> Adapted:
    """A second group whose parameters are put back after each step."""
    model = Wrapped(model, lambda y: y)
    (gain,) = group(model.gain)
    rest = ParameterGroup(name="rest", parameters=head(model.model))
    before = [p.detach().clone() for p in rest.parameters]

    @torch.no_grad()
    def undo() -> None:
        for parameter, value in zip(rest.parameters, before, strict=True):
            parameter.copy_(value)

    return Adapted(model=model, groups=(gain, rest), after_step=undo)


def meddles(model: nn.Module, config: Config) -> Adapted:
    torch.set_default_dtype(torch.float64)
    return head_tuning(model, config)


class HashedConfig(Config):
    """Python's hash of a text is another one in each process."""

    layers: int = Field(default_factory=lambda: hash("layers"))


class LooseConfig(Config):
    model_config = ConfigDict(frozen=False, extra="ignore")


class UnwritableConfig(Config):
    def model_dump_json(self, **options: Any) -> str:
        return '{"learning_rate_scale": 2}'


ADDED = {"traits": Traits(category="additive", batchnorm="frozen")}
LOOSE_START = {"traits": Traits(category="additive", batchnorm="frozen", identity_at_start=False)}


class RankConfig(Config):
    rank: int = 1


BROKEN = {
    "changes a frozen weight": (changes_a_frozen_weight, {}, "frozen stays frozen"),
    "changes it at once": (changes_a_frozen_weight_at_once, {}, "frozen stays frozen"),
    "is no identity": (changes_a_frozen_weight_at_once, {}, "starts as declared"),
    "leaks statistics": (leaks_statistics, {}, "batchnorm policy holds"),
    "lists a dead parameter": (lists_a_dead_parameter, {}, "trainables get gradients"),
    "cuts the graph": (wrapped(lambda y: y.detach() * 1), ADDED, "trainables get gradients"),
    "crops": (wrapped(lambda y: y[..., 1:]), ADDED, "predicts maps"),
    "views memory": (views_memory, {}, "takes channels last"),
    "gives NaN": (wrapped(lambda y: y / 0 * 0), ADDED, "predicts maps"),
    "mixes the batch": (wrapped(mixes_the_batch), LOOSE_START, "scores each sample alone"),
    "is far off in bfloat16": (
        wrapped(lambda y: torch.sin(1000 * y)),
        LOOSE_START,
        "bfloat16 is close",
    ),
    "hides state": (hides_state, ADDED, "delta restores predictions"),
    "draws its own numbers": (draws_its_own_numbers, LOOSE_START, "is repeatable"),
    "merges wrongly": (
        claims_to_merge,
        {"traits": Traits(category="additive", batchnorm="frozen", mergeable=True)},
        "merges as declared",
    ),
    "merges undeclared": (
        head_tuning,
        {"traits": Traits(category="selective", batchnorm="affine")},
        "merges as declared",
    ),
    "keeps the wrong policy": (
        head_tuning,
        {"traits": Traits(category="selective", batchnorm="frozen", mergeable=True)},
        "adapts",
    ),
    "holds out for nothing": (
        head_tuning,
        {"traits": replace(GOOD.traits, holdout=True)},
        "adapts",
    ),
    "reports no JSON": (
        lambda model, config: replace(
            head_tuning(model, config), finish=lambda validate: {"mae": float("nan")}
        ),
        {"traits": replace(GOOD.traits, holdout=True)},
        "reports facts",
    ),
    "takes any option": (head_tuning, {"config": LooseConfig}, "config is strict"),
    "forgets its config": (head_tuning, {"config": UnwritableConfig}, "config is strict"),
    "zeroes weights": (zeroes_weights, LOOSE_START, "keeps the foundation"),
    "zeroes what it was given": (changes_a_frozen_weight_at_once, {}, "keeps the foundation"),
    "adds chance": (adds_chance, ADDED, "adapts"),
    "keeps parameters from fit to fit": (keeps_parameters, ADDED, "adapts"),
    "keeps values from fit to fit": (keeps_values, ADDED, "fits are independent"),
    "adds a penalty of NaN": (adds_nan, {}, "penalty is a number"),
    "does not train a group": (
        rests,
        ADDED | {"traits": Traits(category="full", batchnorm="affine")},
        "every group moves",
    ),
    "changes the process": (meddles, {}, "adapts"),
    "has another config in each process": (
        head_tuning,
        {"config": HashedConfig},
        "config is the same everywhere",
    ),
    "ignores an option of its grid": (
        head_tuning,
        {"config": RankConfig, "grid": {"rank": (1, 2)}},
        "options have an effect",
    ),
    "has a name that is taken": (head_tuning, {"name": "foundation"}, "describes itself"),
    "has no source": (head_tuning, {"source": ""}, "describes itself"),
}


def penalised(model: nn.Module, config: RankConfig) -> Adapted:
    """Reads its option in training alone."""
    first, *others = head(model)
    return Adapted(
        model=model,
        groups=group(first, *others),
        penalty=lambda: config.rank * first.square().sum(),
    )


def narrow(model: nn.Module, config: RankConfig) -> Adapted:
    if config.rank > 1:
        raise ConfigError("the network is too narrow")
    return head_tuning(model, config)


@pytest.mark.parametrize("adapt", [penalised, narrow])
def test_an_option_may_act_late_or_not_fit(
    adapt: Callable[[nn.Module, Any], Adapted],
) -> None:
    method = replace(GOOD, adapt=adapt, config=RankConfig, grid={"rank": (1, 2)})
    assert options_have_an_effect(Case(method, None)) == "rank"


@pytest.fixture(autouse=True)
def forget_gains() -> None:
    GAINS.clear()


@pytest.mark.parametrize("what", matrix.every(3, BROKEN))
def test_the_suite_catches_a_method_that(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check that is meant for it, by itself; the good method passes all."""
    adapt, changes, check = BROKEN[what]
    meant = [c for c in conformance.CHECKS if c.__name__.replace("_", " ") == check]
    monkeypatch.setattr(conformance, "CHECKS", meant)
    (result,) = conformance.run(broken(adapt, **changes))
    assert (result.name, result.passed) == (check, False)


class Coarse(nn.Module):
    """Loses three digits in single precision, and hardly anything in double."""

    def __init__(self) -> None:
        super().__init__()
        self.network = toy_networks.convolutional()

    def forward(self, x: Tensor) -> Tensor:
        y = self.network(x)
        return 1000 * y - 999 * y


@pytest.mark.parametrize(("error", "passes"), [(0.0, True), (1e-2, False)])
def test_a_merge_is_forgiven_the_rounding_of_the_network_and_no_more(
    error: float, passes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    meant = ("merges_as_declared", "scores_each_sample_alone")
    checks = [check for check in conformance.CHECKS if check.__name__ in meant]
    monkeypatch.setattr(conformance, "CHECKS", checks)
    hf = registry.load().get("hf").method  # runs a branch beside each layer until merged

    def adapt(model: nn.Module, config: Config) -> Adapted:
        adapted = hf.adapt(model, config)
        assert adapted.merge is not None
        honest = adapted.merge

        def merge() -> nn.Module:
            merged = honest()
            with torch.no_grad():
                list(merged.parameters())[-1].add_(error)
            return merged

        return replace(adapted, merge=merge)

    results = conformance.run(replace(hf, adapt=adapt), network=Coarse())
    found = {r.name: r for r in results}
    merges = found["merges as declared"]
    assert merges.passed == passes, merges.detail
    assert float(merges.detail.split()[-1]) > 1e-5
    assert found["scores each sample alone"].passed


def test_a_run_is_told_of_a_wrong_shape_before_it_trains() -> None:
    crops = broken(wrapped(lambda y: y[..., 1:]), **ADDED)
    told = conformance.first_failure(crops, Config(), toy_networks.convolutional())
    assert told and "predicts (1, 1, 70, 69); (1, 1, 70, 70) is needed" in told


# --- what the harness itself refuses, before any training -----------------------------------------


def stranger(model: nn.Module, config: Config) -> Adapted:
    return Adapted(model=model, groups=group(nn.Parameter(torch.zeros(1))))


def twice(model: nn.Module, config: Config) -> Adapted:
    return Adapted(model=model, groups=group(*head(model)) + group(*head(model)[:1]))


def group_of(**numbers: Any) -> Callable[[nn.Module, Config], Adapted]:
    return lambda model, config: Adapted(
        model=model,
        groups=(ParameterGroup(name="all", parameters=head(model), **numbers),),
    )


def crash(model: nn.Module, config: Config) -> Adapted:
    raise ZeroDivisionError("no luck")


@pytest.mark.parametrize(
    ("adapt", "message"),
    [
        (lambda model, config: model, "'broken' returns a InversionNet, not a"),
        (lambda model, config: Adapted(model=model, groups=()), "returns no trainable parameter"),
        (lambda model, config: Adapted(model=model, groups=group()), "no trainable parameter"),
        (
            lambda model, config: Adapted(model=model, groups=(head(model),)),
            "returns a tuple among",
        ),
        (stranger, "not part of the adapted network"),
        (twice, "lists a parameter twice"),
        (group_of(learning_rate_scale=float("nan")), "the learning_rate_scale nan, which is out"),
        (group_of(weight_decay=-1.0), "the weight_decay -1.0, which is out of range"),
        (group_of(active=(0.5, 0.5)), r"the active \(0.5, 0.5\), which is out of range"),
        (
            lambda model, config: replace(head_tuning(model, config), finish=lambda v: {}),
            "must declare Traits.holdout if it sets",
        ),
        (crash, "'broken' failed in adapt: ZeroDivisionError: no luck"),
    ],
)
def test_garbage_is_refused_with_the_reason(
    adapt: Callable[[nn.Module, Any], Any], message: str
) -> None:
    with pytest.raises(MethodError, match=message):
        adaptation.adapt(broken(adapt), toy_networks.convolutional(), Config())


def test_facts_of_a_method_are_made_plain_or_refused() -> None:
    """A record holds them; what cannot be written would end the whole run."""
    plain = adaptation.plain_facts(GOOD, {"sweep": [{"mae": float("nan")}, {"mae": 0.5}]})
    assert plain == {"sweep": [{"mae": None}, {"mae": 0.5}]}
    endless = "y" * 2_000_000
    for garbage in ([1], None, *({"x": x} for x in (object(), torch.zeros(2), "\udc80", endless))):
        with pytest.raises(MethodError, match=r"'good' returns .* from finish"):
            adaptation.plain_facts(GOOD, garbage)


def test_a_method_object_with_wrong_fields_cannot_be_made() -> None:
    with pytest.raises(ValidationError, match="batchnorm"):
        replace(GOOD.traits, **{"batchnorm": "free"})
    for field, value in (("summary", None), ("config", Config()), ("version", "two")):
        with pytest.raises(ValidationError, match=field):
            replace(GOOD, **{field: value})
