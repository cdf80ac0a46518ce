"""The loop learns: real network, real optimiser; and the run is repeatable."""

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.contract import Adapted, Method, ParameterGroup, Traits
from bench.data.subsets import batch_order, batches_per_epoch
from bench.models import backbones
from bench.plugins import adaptation, registry
from bench.plugins.pretraining import PRETRAINING
from bench.records.record import Epoch
from bench.seeds import seed_everything
from bench.training import capture, train
from bench.training.numerics import Numerics, choose


def batch(samples: int) -> tuple[Tensor, Tensor]:
    """Records whose amplitude tells the two-layer map that belongs to them."""
    generator = torch.Generator().manual_seed(3)
    level = torch.linspace(-0.8, 0.8, samples).view(-1, 1, 1, 1)
    x = torch.randn((samples, 5, 1000, 70), generator=generator) * 0.1 + level
    y = level.expand(-1, 1, 70, 70).clone()
    y[:, :, 35:] *= -0.5
    return x, y


def learn(adapted: Adapted, x: Tensor, y: Tensor, epochs: int, numerics: Numerics) -> list[Epoch]:
    return list(
        train.fit(
            adapted,
            train.optimiser(adapted, 1.0),
            lambda epoch: [(x, y)],
            batchnorm="both",
            epochs=range(epochs),
            total_epochs=epochs,
            steps_per_epoch=1,
            numerics=numerics,
        )
    )


def network() -> Adapted:
    seed_everything(0)
    model = backbones.build("inversionnet_quarter")
    return adaptation.adapt(PRETRAINING, model, PRETRAINING.config())


@pytest.mark.slow
def test_a_fit_overfits_four_samples() -> None:
    x, y = batch(4)
    curve = learn(network(), x, y, 30, choose("cpu"))
    mean_map = (y - y.mean(0)).abs().mean()
    assert curve[-1].loss < 0.4 * curve[0].loss
    assert curve[-1].loss < 0.5 * float(mean_map), "better than the best constant map"


def test_two_fits_on_the_cpu_are_bit_identical_and_seeds_differ() -> None:
    x, y = batch(2)
    first, second = ([e.loss for e in learn(network(), x, y, 3, choose("cpu"))] for _ in range(2))
    assert first == second
    seed_everything(1)
    other = adaptation.adapt(
        PRETRAINING, backbones.build("inversionnet_quarter"), PRETRAINING.config()
    )
    assert [e.loss for e in learn(other, x, y, 3, choose("cpu"))] != first


class Tiny(torch.nn.Module):
    """One number for a map, so that steps can be followed by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.level = torch.nn.Parameter(torch.tensor(0.5))
        self.rest = torch.nn.Parameter(torch.tensor(0.0))

    def forward(self, x: Tensor) -> Tensor:
        return (self.level + self.rest).expand(len(x), 1, 70, 70)


def tiny(**options: object) -> tuple[Adapted, Tensor, Tensor]:
    model = Tiny()
    groups = (
        ParameterGroup(name="level", parameters=(model.level,), **options),  # type: ignore[arg-type]  # options vary by test
    )
    adapted = Adapted(model=model, groups=groups)
    model.rest.requires_grad_(False)
    return adapted, torch.zeros(2, 5, 10, 10), torch.zeros(2, 1, 70, 70)


FLOAT32 = Numerics(device=torch.device("cpu"), bfloat16=False)


def test_adamw_steps_by_hand() -> None:
    """The gradient of |level| is 1, so each Adam step is the learning rate: 8e-4 · schedule."""
    adapted, x, y = tiny()
    curve = learn(adapted, x, y, 4, FLOAT32)
    # 4 steps: warm-up lasts 1/6 of a step, milestones at 3 and round(10/3) = 3
    expected = 0.5 - 8e-4 * (1e-5 + 1 + 1 + 0.01)
    assert adapted.model.level.item() == pytest.approx(expected, abs=1e-6)
    assert [e.loss for e in curve][:2] == pytest.approx([0.5, 0.5 - 8e-9], abs=1e-7)


def test_learning_rate_scale_and_activity_of_a_group() -> None:
    scaled, x, y = tiny(learning_rate_scale=3.0)
    learn(scaled, x, y, 4, FLOAT32)
    assert scaled.model.level.item() == pytest.approx(0.5 - 3 * 8e-4 * 2.01001, abs=1e-6)
    late, x, y = tiny(active=(0.5, 1.0))
    learn(late, x, y, 4, FLOAT32)
    assert late.model.level.item() == pytest.approx(0.5 - 8e-4 * 1.01, abs=1e-6)


def test_weight_decay_of_a_group_is_decoupled() -> None:
    """w ← w·(1 − rate·decay) − rate, beside the same steps without decay."""
    decayed, x, y = tiny(weight_decay=5.0)
    learn(decayed, x, y, 4, FLOAT32)
    expected = 0.5
    for factor in (1e-5, 1, 1, 0.01):
        expected = expected * (1 - 8e-4 * factor * 5.0) - 8e-4 * factor
    assert decayed.model.level.item() == pytest.approx(expected, abs=1e-6)
    assert decayed.model.rest.item() == 0.0


def test_nan_loss_is_an_error() -> None:
    adapted, x, y = tiny()
    with pytest.raises(train.DivergedError, match="epoch 0"):
        learn(adapted, x, y * float("nan"), 1, FLOAT32)


def test_a_method_without_trainables_only_moves_statistics() -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(5, 1, 1), torch.nn.BatchNorm2d(1))
    method = Method(
        name="statistics",
        summary="",
        source="",
        traits=Traits(category="selective", batchnorm="statistics"),
        adapt=lambda model, config: Adapted(model=model, groups=()),
    )
    adapted = adaptation.adapt(method, model, method.config())
    before = {k: v.clone() for k, v in model.state_dict().items()}
    x, y = torch.randn(4, 5, 70, 70), torch.zeros(4, 1, 70, 70)
    adam = train.optimiser(adapted, 1.0)
    assert adam is None
    list(
        train.fit(
            adapted,
            adam,
            lambda epoch: [(x, y)],
            batchnorm="statistics",
            epochs=range(1),
            total_epochs=1,
            steps_per_epoch=1,
            numerics=FLOAT32,
        )
    )
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}


def test_batches_are_never_of_one_sample() -> None:
    for samples in range(2, 40):
        order = batch_order(samples, batch=8, seed=0, datasets=("Style_A",), percent=10, epoch=1)
        assert len(order) == batches_per_epoch(samples, 8)
        assert min(map(len, order)) >= 2
        assert max(map(len, order)) <= 8
        assert sorted(i for part in order for i in part) == list(range(samples))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU on this machine")
@pytest.mark.parametrize("name", ["fft", "lora", "dora", "bitfit", "batchnorm", "prompt", "lp_ft"])
def test_captured_steps_are_the_steps(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same losses and weights after six epochs whose last batch is smaller."""
    numerics = choose("cuda")
    method = registry.load().get(name).method
    batches = [batch(n) for n in (4, 4, 3)]
    data = [(x.to(numerics.device), y.to(numerics.device)) for x, y in batches]
    ends, losses, recorded = [], [], []
    for eager_steps in (1, 1000):
        monkeypatch.setattr(capture, "_EAGER_STEPS", eager_steps)
        capturing = capture.CapturedSteps._capture
        count = [0]

        def counted(
            self: capture.CapturedSteps,
            x: Tensor,
            y: Tensor,
            capturing: Any = capturing,
            count: list[int] = count,
        ) -> Any:
            count[0] += 1
            return capturing(self, x, y)

        monkeypatch.setattr(capture.CapturedSteps, "_capture", counted)
        seed_everything(0)
        model = backbones.build("inversionnet_quarter")
        adapted = adaptation.adapt(method, model, method.config())
        numerics.place(adapted.model)
        epochs = train.fit(
            adapted,
            train.optimiser(adapted, 1.0),
            lambda epoch: data,
            batchnorm=method.traits.batchnorm,
            epochs=range(6),
            total_epochs=6,
            steps_per_epoch=3,
            numerics=numerics,
        )
        losses.append([epoch.loss for epoch in epochs])
        ends.append(adapted.model.state_dict())
        recorded.append(count[0])
    assert recorded[0] >= 2 and recorded[1] == 0
    assert losses[0] == pytest.approx(losses[1], rel=2e-3)
    for key, value in ends[0].items():
        torch.testing.assert_close(value, ends[1][key], rtol=1e-2, atol=5e-3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU on this machine")
@pytest.mark.parametrize("name", ["fft", "lora", "bitfit", "batchnorm", "prompt"])
def test_no_step_waits_for_the_gpu(name: str) -> None:
    numerics = choose("cuda")
    method = registry.load().get(name).method
    adapted = adaptation.adapt(method, backbones.build("inversionnet_quarter"), method.config())
    numerics.place(adapted.model)
    adam = train.optimiser(adapted, 1.0)
    adaptation.training_mode(adapted.model, method.traits.batchnorm)
    x, y = (t.to(numerics.device) for t in batch(4))
    with numerics.frugal_pass(adapted.model):
        train.training_step(adapted, adam, x, y, numerics=numerics)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that this mode is a prototype
            torch.cuda.set_sync_debug_mode("error")
            try:
                train.set_rate(adam, 1e-4)
                train.training_step(adapted, adam, x, y, numerics=numerics)
            finally:
                torch.cuda.set_sync_debug_mode("default")
