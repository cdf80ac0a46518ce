"""Memory is flat in the number of samples, and falls with what a training step keeps."""

import gc
import weakref
from pathlib import Path
from typing import Any, cast

import numpy as np
import psutil
import pytest
import torch
from numpy.typing import NDArray

from bench.conformance import toy_networks
from bench.data.loader import _READERS, Datasets, SampleLoader
from bench.data.reader import Samples
from bench.models import backbones
from bench.plugins import adaptation, options, registry
from bench.progress import Silent
from bench.protocol import tracks
from bench.protocol.spec import TARGETS, TestSet
from bench.runner import estimate
from bench.runner.context import RunContext
from bench.runner.jobs import Job
from bench.runner.machine_speeds import Speeds
from bench.runner.plan import Plan
from bench.runner.workspace import Workspace
from bench.training import train
from bench.training.memory_traffic import Traffic
from bench.training.numerics import Numerics

CPU = torch.device("cpu")


class Endless:
    """Zeros in place of files; counts the arrays of records that somebody still holds."""

    def __init__(self) -> None:
        self.alive = self.most = 0

    def records(self, rows: NDArray[np.int64], *, native: bool = False) -> NDArray[np.float32]:
        made = np.zeros((len(rows), 5, 1000, 70), dtype=np.float32)
        self.alive += 1
        self.most = max(self.most, self.alive)
        weakref.finalize(made, self._gone)
        return made

    def maps(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.full((len(rows), 1, 70, 70), 3000, dtype=np.float32)

    def _gone(self) -> None:
        self.alive -= 1


@pytest.mark.parametrize("batches", [20, 40])
def test_streaming_holds_a_few_batches_however_many_there_are(batches: int) -> None:
    source = Endless()
    order = [np.arange(2) + 2 * number for number in range(batches)]
    pool = SampleLoader(
        [(cast(Samples, source), np.arange(2 * batches))], device=CPU, resident=False
    )
    held: list[weakref.ref[Any]] = []
    most = 0
    for x, _ in pool.batches(order):
        held.append(weakref.ref(x.untyped_storage()))
        most = max(most, sum(ref() is not None for ref in held))
        del x
    gc.collect()
    assert len(held) == batches
    assert source.most <= _READERS
    assert most <= _READERS + 1
    assert source.alive == 0


@pytest.mark.parametrize(("free", "stays"), [(10**15, True), (10**9, False)])
def test_the_estimate_counts_samples_only_where_they_stay(
    free: int, stays: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fine-tuning on FlatVel_B: 24,000 samples, scored on 6,000 + 6,000 + 7,000 + 7,000."""
    resident = psutil.Process().memory_info().rss
    context = RunContext(
        workspace=Workspace(tmp_path),
        track=tracks.load("openfwi"),
        backbone=backbones.spec("inversionnet"),
        numerics=Numerics(device=CPU, bfloat16=False),
        progress=Silent(),
        command=(),
        data_folder=tmp_path,
    )
    monkeypatch.setattr(Datasets, "_memory_limit", free)
    (choice,), _ = options.choose(
        [registry.load().get("fft")], (), "inversionnet", skip_unfit=False
    )
    tests = tuple(TestSet(dataset=name) for name in TARGETS)
    job = Job(
        track=context.track,
        spec=context.fit_spec(choice.spec, ("FlatVel_B",), seed=0),
        tests=tests,
    )
    speeds = Speeds(
        simulate_records_per_second=1,
        score_samples_per_second=100,
        train_samples_per_second={"fft": 1000},
        step_bytes_per_sample=20e6,
    )
    plan = Plan(
        jobs=(job,),
        untrained=frozenset({job.key}),
        trainable_parameters={job.key: choice.trainable_parameters},
    )
    found = estimate.estimate(plan, context, speeds)
    step = 4 * (4 * 24_409_123) + 128 * 20e6  # weights, gradients, two moments; activations
    data = (24_000 + 26_000) * (5 * 1000 * 70 * 2 + 70 * 70 * 4)
    expected = resident + step + stays * data
    assert found.memory_bytes == pytest.approx(expected, abs=0.5e9)
    assert found.train_seconds == pytest.approx(24_000 * 120 / 1000, abs=1)
    assert found.score_seconds == pytest.approx(260)
    scored = Plan(jobs=(job,), trainable_parameters=plan.trainable_parameters)
    only = estimate.estimate(scored, context, speeds)
    data = 26_000 * (5 * 1000 * 70 * 2 + 70 * 70 * 4)
    assert only.memory_bytes == pytest.approx(resident + 4 * 24_409_123 + stays * data, abs=0.5e9)
    assert (only.train_seconds, only.score_seconds) == (0, pytest.approx(260))
    assert only.disk_bytes == 0


# --- the peak of a step -------------------------------------------------------------------------


def step_peak(name: str, *, frugally: bool) -> int:
    """Most bytes alive at once of what a training step on a narrow InversionNet allocates."""
    method = registry.load().get(name).method
    adapted = adaptation.adapt(method, toy_networks.convolutional(), method.config())
    numerics = Numerics(device=CPU, bfloat16=True, frugal=frugally)
    numerics.place(adapted.model)
    adam = train.optimiser(adapted, 1.0)
    adaptation.training_mode(adapted.model, method.traits.batchnorm)
    x = torch.zeros(8, 1000, 70, 5, dtype=torch.float16).permute(0, 3, 1, 2)
    y = torch.zeros(8, 1, 70, 70)
    with numerics.frugal_pass(adapted.model):
        train.training_step(adapted, adam, x, y, numerics=numerics)
        with Traffic() as traffic:
            train.training_step(adapted, adam, x, y, numerics=numerics)
    return traffic.peak_bytes


@pytest.mark.exhaustive
def test_the_peak_of_a_step_falls_with_what_is_saved() -> None:
    """The records, the same for all, are a larger part than in the full network."""
    stock = step_peak("fft", frugally=False)
    limits = {"fft": 0.75, "lora": 0.65, "bitfit": 0.42, "batchnorm": 0.48, "head": 0.31}
    for name, part in limits.items():
        assert step_peak(name, frugally=True) <= part * stock, name
