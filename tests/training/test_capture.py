"""Which steps are recorded and replayed, with Python in place of CUDA graphs."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.training import capture
from bench.training.capture import CapturedSteps

EAGER = capture._EAGER_STEPS


class Graph:
    """Replays what the step did when it was recorded, whatever the step would do now."""

    def __init__(self, value: float, x: Tensor, loss: Tensor) -> None:
        self._value, self._x, self._loss = value, x, loss

    def replay(self) -> None:
        self._loss.copy_(self._value + self._x.sum())


class Steps:
    """A step whose loss is its mode's value and the sum of x; counts its calls in Python."""

    def __init__(self) -> None:
        self.value, self.calls, self.recorded = 1.0, 0, 0

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        self.calls += 1
        return self.value + x.sum()

    def captured(self, steps: CapturedSteps, x: Tensor, y: Tensor) -> Any:
        self.recorded += 1
        x, loss = x.clone(), torch.zeros(())
        graph: Any = Graph(self.value, x, loss)
        return capture._Captured(graph, x, y.clone(), loss)


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> Steps:
    step = Steps()
    monkeypatch.setattr(CapturedSteps, "_capture", lambda *words: step.captured(*words))
    return step


Y = torch.zeros(2)


def losses(steps: CapturedSteps, count: int, *shape: int) -> list[float]:
    return [float(steps(torch.full(shape, float(n)), Y)) for n in range(count)]


def test_each_shape_runs_in_python_at_first_and_is_replayed_then(step: Steps) -> None:
    steps = CapturedSteps(step)
    assert losses(steps, EAGER + 4, 1) == [1.0 + n for n in range(EAGER + 4)]
    assert (step.calls, step.recorded) == (EAGER, 1)
    assert losses(steps, EAGER + 1, 2) == [1.0 + 2 * n for n in range(EAGER + 1)]
    assert (step.calls, step.recorded) == (2 * EAGER, 2)


def test_steps_that_fill_the_frozen_prefix_are_neither_recorded_nor_replayed(step: Steps) -> None:
    prefix: Any = SimpleNamespace(recording=False, reused=False)
    steps = CapturedSteps(step, prefix)
    losses(steps, EAGER + 1, 1)
    assert step.recorded == 1
    prefix.recording, calls = True, step.calls
    losses(steps, 5, 1)
    losses(steps, EAGER + 5, 2)
    assert (step.calls, step.recorded) == (calls + EAGER + 10, 1)


def test_activations_and_records_of_one_shape_have_graphs_of_their_own(step: Steps) -> None:
    """A prefix that is dropped in the middle of a stage gives records again."""
    prefix: Any = SimpleNamespace(recording=False, reused=True)
    steps = CapturedSteps(step, prefix)
    assert losses(steps, EAGER + 2, 1)[-1] == 1.0 + EAGER + 1
    prefix.reused, step.value = False, 5.0
    assert losses(steps, EAGER + 2, 1) == [5.0 + n for n in range(EAGER + 2)]
    assert step.recorded == 2


def test_a_step_that_cannot_be_recorded_goes_on_in_python(
    step: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*words: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(CapturedSteps, "_capture", refuse)
    assert losses(CapturedSteps(step), EAGER + 4, 1) == [1.0 + n for n in range(EAGER + 4)]
    assert step.calls == EAGER + 4
