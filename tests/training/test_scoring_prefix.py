"""Scoring from activations that another fit of the same foundation has had: never another score."""

import copy
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.data.loader import SampleLoader
from bench.models.backbones.inversionnet import InversionNet
from bench.seeds import seed_everything
from bench.training import evaluate
from bench.training.evaluate import Scored
from bench.training.numerics import Numerics
from bench.training.scoring_prefix import ScoringPrefix, SharedActivations

SAMPLES = 70
"""Three batches, the last one smaller."""
FLOAT32 = Numerics(device=torch.device("cpu"), bfloat16=False)
PLENTY = 2**40


class Records:
    """A loader of random samples."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(1)
        self._x = torch.randn((SAMPLES, 1000, 70, 5), generator=generator).half()
        self._y = torch.rand((SAMPLES, 1, 70, 70), generator=generator) - 0.5

    def __len__(self) -> int:
        return SAMPLES

    def batches(self, order: list[Any]) -> Any:
        for indices in order:
            yield self._x[indices].permute(0, 3, 1, 2), self._y[indices]


@pytest.fixture(scope="module")
def loader() -> SampleLoader:
    return cast(SampleLoader, Records())


@pytest.fixture(scope="module")
def foundation() -> nn.Module:
    seed_everything(0)
    network = InversionNet(narrower=16)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
    FLOAT32.place(network)
    return network.eval().requires_grad_(False)


def shared_by(foundation: nn.Module, budget: int = PLENTY) -> SharedActivations:
    return SharedActivations(budget).of("one", lambda: foundation)


def fitted(foundation: nn.Module, *changed: str, seed: int = 1) -> nn.Module:
    """The foundation with other weights in some layers."""
    network = copy.deepcopy(foundation)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name in changed:
            for parameter in network.get_submodule(name).parameters():
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return network


def score(
    network: nn.Module,
    loader: SampleLoader,
    shared: SharedActivations | None = None,
    test_set: str = "Style_A",
) -> tuple[Scored, int]:
    """Scores, and how many samples were scored from what another network has kept."""
    if shared is None:
        return evaluate.score(network, loader, numerics=FLOAT32), 0
    prefix = ScoringPrefix(network, shared)
    forward = prefix.over(test_set, len(loader))
    return evaluate.score(network, loader, numerics=FLOAT32, forward=forward), prefix.samples_reused


def assert_same(found: Scored, expected: Scored) -> None:
    for column, values in expected.scores.items():
        np.testing.assert_array_equal(found.scores[column], values)


def test_the_second_fit_begins_where_the_first_was_the_foundation(
    foundation: nn.Module, loader: SampleLoader
) -> None:
    shared = shared_by(foundation)
    networks = [fitted(foundation, "deconv6", seed=seed) for seed in (1, 2, 3)]
    reused = []
    for network in networks:
        found, samples = score(network, loader, shared)
        assert_same(found, score(network, loader)[0])
        reused.append(samples)
    assert reused == [0, SAMPLES - 32, SAMPLES - 32], "all but the batch that is compared"
    assert len(shared.kept) == 1


def test_another_test_set_is_another_entry(foundation: nn.Module, loader: SampleLoader) -> None:
    shared = shared_by(foundation)
    network = fitted(foundation, "deconv6")
    score(network, loader, shared)
    _, reused = score(network, loader, shared, test_set="Style_B")
    assert reused == 0 and len(shared.kept) == 2


def test_another_foundation_drops_what_was_kept(
    foundation: nn.Module, loader: SampleLoader
) -> None:
    shared = shared_by(foundation)
    score(fitted(foundation, "deconv6"), loader, shared)
    other = copy.deepcopy(foundation)
    assert shared.of("one", lambda: other).kept and shared.foundation is foundation
    assert not shared.of("another", lambda: other).kept and shared.foundation is other


def test_no_more_is_kept_than_the_budget(foundation: nn.Module, loader: SampleLoader) -> None:
    whole = shared_by(foundation)
    score(fitted(foundation, "deconv6"), loader, whole)
    (rows,) = whole.kept.values()
    for budget, kept in ((rows.nbytes - 1, 0), (rows.nbytes, 1), (2 * rows.nbytes - 1, 1)):
        shared = shared_by(foundation, budget)
        for test_set in ("Style_A", "Style_B"):
            score(fitted(foundation, "deconv6"), loader, shared, test_set)
        assert len(shared.kept) == kept


def with_other_statistics(network: nn.Module) -> nn.Module:
    batchnorm = next(m for m in network.modules() if isinstance(m, nn.BatchNorm2d))
    assert batchnorm.running_mean is not None
    batchnorm.running_mean += 0.01
    return network


def with_a_hook(network: nn.Module) -> nn.Module:
    network.get_submodule("convblock1").register_forward_hook(lambda m, x, y: 1.1 * y)
    return network


def with_its_own_forward(network: nn.Module) -> nn.Module:
    block: Any = network.get_submodule("convblock1")
    original = block.forward
    block.forward = lambda x: 1.1 * original(x)
    return network


class Odd(nn.Conv2d):
    """Says nothing of a factor that it has."""

    factor = 1.0

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * super().forward(x)


def with_an_unseen_factor(network: nn.Module) -> nn.Module:
    cast(Any, network.get_submodule("convblock2_1")).layers[0].factor = 1.1
    return network


@pytest.mark.parametrize(
    "change", [with_other_statistics, with_a_hook, with_its_own_forward, with_an_unseen_factor]
)
def test_a_network_that_is_not_the_foundation_below_is_scored_alone(
    foundation: nn.Module, loader: SampleLoader, change: Any
) -> None:
    foundation = copy.deepcopy(foundation)
    block: Any = foundation.get_submodule("convblock2_1")
    block.layers[0].__class__ = Odd
    shared = shared_by(foundation)
    score(fitted(foundation, "deconv6"), loader, shared)
    assert shared.kept
    network = change(fitted(foundation, "deconv6", seed=2))
    found, reused = score(network, loader, shared)
    assert reused == 0
    assert_same(found, score(network, loader)[0])


def test_layers_that_change_early_leave_nothing_to_share(
    foundation: nn.Module, loader: SampleLoader
) -> None:
    shared = shared_by(foundation)
    network = fitted(foundation, "convblock1", "deconv6")
    found, reused = score(network, loader, shared)
    assert (reused, shared.kept) == (0, {})
    assert_same(found, score(network, loader)[0])
