"""Every installed backbone passes the suite, and the suite catches what breaks the contract."""

import re
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import matrix
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench import conformance
from bench.contract import Backbone
from bench.errors import BackboneError
from bench.models import backbones


@pytest.mark.parametrize("name", matrix.part(backbones.names(), "inversionnet_quarter"))
def test_installed_backbone_conforms(name: str) -> None:
    conformance.check_backbone(backbones.get(name).backbone)


class Toy(nn.Module):
    """Blocks of 20 × 1 samples averaged, one convolution with BatchNorm, one layer to the map."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(5, 4, 3, 1, 1)
        self.norm = nn.BatchNorm2d(4)
        self.out = nn.Linear(50, 70)

    def features(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.mix(nn.functional.avg_pool2d(x, (20, 1))))
        return y

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.features(x)).mean(dim=1, keepdim=True)
        return torch.tanh(self.out(y.transpose(2, 3)).transpose(2, 3))


GOOD = Backbone(name="good", summary="A toy.", source="This test", build=Toy)


def failures(build: Callable[[], Any], **changes: Any) -> dict[str, str]:
    """Names of the failed checks and what they say."""
    backbone = replace(GOOD, build=build, **changes)
    return {r.name: r.detail for r in conformance.run_backbone(backbone) if not r.passed}


def test_a_good_backbone_passes() -> None:
    results = conformance.run_backbone(GOOD)
    assert all(r.passed for r in results), results
    assert len({r.name for r in results}) == len(results)
    assert all(r.meaning.endswith(".") and r.detail for r in results)


# --- backbones that break the contract, each in one way -------------------------------------------


class WrongShape(Toy):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[..., 1:]


class ViewsMemory(Toy):
    def features(self, x: Tensor) -> Tensor:
        y = super().features(x)
        return y.view(len(y), -1).view(y.shape)


class IgnoresAShot(Toy):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.index_fill(1, torch.tensor([4], device=x.device), 0))


class ChangesItsInput(Toy):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.mul_(0.5))


class UsesNumpy(Toy):
    def __init__(self) -> None:
        super().__init__()
        drawn = np.random.default_rng().standard_normal((70, 50)) / 7
        if not self.out.weight.is_meta:
            self.out.weight.data = torch.from_numpy(drawn).float()


class AlwaysTheSame(Toy):
    def __init__(self) -> None:
        super().__init__()
        for parameter in self.parameters():
            nn.init.constant_(parameter, 0.1)
        nn.init.constant_(self.norm.weight, 1.0)


class DrawsInEvaluation(Toy):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + 0.01 * torch.randn_like(x))


class LooksAtNeighbours(Toy):
    """Batch statistics at test time."""

    def features(self, x: Tensor) -> Tensor:
        y = self.mix(nn.functional.avg_pool2d(x, (20, 1)))
        return nn.functional.batch_norm(
            y, None, None, self.norm.weight, self.norm.bias, training=True
        )


class DeadParameter(Toy):
    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(3))


class BuiltFrozen(Toy):
    def __init__(self) -> None:
        super().__init__()
        self.mix.requires_grad_(False)


class NoStatistics(Toy):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(4, track_running_stats=False)


class CountsItsCalls(Toy):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.get_buffer("calls").add_(1)
        return super().forward(x)


class HidesState(Toy):
    """A table that no state holds: gone on a network that is made from its state."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.linspace(0, 1, 70), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.get_buffer("table")


class BreaksInBfloat16(Toy):
    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y if not torch.is_autocast_enabled("cpu") else y + 0.1


class DiffersFrugally(Toy):
    """Its gradient depends on whether a module's forward has been replaced."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y.detach() + 2 * (y - y.detach()) if "forward" in vars(self.mix) else y


class TiesWeights(Toy):
    """Its output layer, and the same one under another name."""

    def __init__(self) -> None:
        super().__init__()
        self.again = self.out


class AsksAHost(Toy):
    def __init__(self) -> None:
        super().__init__()
        with socket.socket() as connection:
            try:
                connection.connect(("192.0.2.1", 80))
            except OSError:
                return


class HalfPrecision(Toy):
    def __init__(self) -> None:
        super().__init__()
        self.out.half()


class BuiltOnTheCPU(Toy):
    """Draws its weights twice: with other names once the default device is not the CPU."""

    def __init__(self) -> None:
        super().__init__()
        if self.out.weight.is_meta:
            self.extra = nn.Linear(2, 2)


@pytest.mark.parametrize(
    ("build", "check", "says"),
    [
        (WrongShape, "predicts maps", r"predicts \(3, 1, 70, 69\); \(3, 1, 70, 70\) is needed"),
        (ChangesItsInput, "predicts maps", "changes the records"),
        (ViewsMemory, "takes channels last", r"view size .* \(test_backbone_conformance.py:"),
        (IgnoresAShot, "sees the records", "does not depend on shot 5"),
        (UsesNumpy, "follows the seed", "'out.weight' differs from itself"),
        (AlwaysTheSame, "follows the seed", "another seed gives the same weights"),
        (DrawsInEvaluation, "predicts the same again", "two predictions differ"),
        (LooksAtNeighbours, "scores each sample alone", "alone and in a batch differ"),
        (DeadParameter, "gradients reach everything", "no gradient reaches unused"),
        (BuiltFrozen, "builds", "'mix.weight' is built frozen"),
        (HalfPrecision, "builds", "'out.weight' is built as torch.float16"),
        (BuiltOnTheCPU, "builds", "other names or shapes"),
        (TiesWeights, "names each tensor once", "'out.weight' and 'again.weight' are one tensor"),
        (AsksAHost, "builds", "opens a network connection"),
        (dict, "builds", "build returns a dict"),
        (NoStatistics, "only batchnorm moves unasked", "keeps no running statistics"),
        (CountsItsCalls, "only batchnorm moves unasked", "'calls' moves"),
        (HidesState, "state survives a file", "does not hold table"),
        (BreaksInBfloat16, "bfloat16 is close", "differs by 0.1 on average"),
        (DiffersFrugally, "frugal pass is exact", "gradient of .* differs"),
    ],
)
def test_the_suite_catches(
    build: Callable[[], Any], check: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check that is meant for it, by itself; the good backbone passes all."""
    meant = [c for c in conformance.BACKBONE_CHECKS if c.__name__.replace("_", " ") == check]
    monkeypatch.setattr(conformance, "BACKBONE_CHECKS", meant)
    found = failures(build)
    assert check in found, found
    assert re.search(says, found[check]), found[check]


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (WrongShape, r"\(predicts maps\): .* is needed\. `bench check --backbone good` runs"),
        (ViewsMemory, r"\(takes channels last\): RuntimeError: view size"),
        (DrawsInEvaluation, r"\(predicts the same again\): two predictions differ by"),
        (LooksAtNeighbours, r"\(scores each sample alone\): .* may not depend on the other"),
    ],
)
def test_a_run_refuses(build: Callable[[], Any], says: str) -> None:
    conformance.check_backbone_cheaply(GOOD)
    with pytest.raises(BackboneError, match=says):
        conformance.check_backbone_cheaply(replace(GOOD, build=build))


def test_a_name_that_cannot_be_typed_is_told() -> None:
    assert "lower-case" in failures(Toy, name="Bad-Name")["describes itself"]


def test_all_failures_are_in_one_error() -> None:
    with pytest.raises(conformance.NonconformanceError, match=r"'good' fails \d+ of 15 checks"):
        conformance.check_backbone(replace(GOOD, build=WrongShape))
