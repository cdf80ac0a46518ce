"""What a plan costs on this machine: time, memory and disk."""

from dataclasses import dataclass

import psutil

from bench.data import layout
from bench.data.generate import BYTES_PER_SAMPLE
from bench.plugins import parameter_counts
from bench.runner.context import Session
from bench.runner.machine_speeds import Speeds
from bench.runner.plan import Plan, budget_of, epoch_samples

_FIT_OVERHEAD_SECONDS = 0.7
"""Building and hashing networks and writing files, a fit; as in records of track `smoke`."""
_BYTES_PER_PARAMETER = 4
_COPIES_IN_TRAINING = 3
"""Of a trained parameter, beside itself: its gradient and AdamW's two moments."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What is still to be spent.

    Memory is that of the most demanding fit, its data included: all of the process on a CPU, the
    device's on a GPU.
    """

    simulate_seconds: float
    train_seconds: float
    score_seconds: float
    memory_bytes: int
    disk_bytes: int

    @property
    def seconds(self) -> float:
        return self.simulate_seconds + self.train_seconds + self.score_seconds


def estimate(plan: Plan, session: Session, speeds: Speeds) -> Estimate:
    """From the plan's counts and measured speeds."""
    track = session.track
    train_seconds = _FIT_OVERHEAD_SECONDS * len(plan.tasks)
    scored = weights = 0
    memory = 0.0
    network = _BYTES_PER_PARAMETER * parameter_counts.backbone_parameters(session.backbone)
    for task in plan.tasks:
        samples = epoch_samples(task, track)
        budget = budget_of(task, track)
        tests = [layout.size(name, "test", track.data) for name in task.spec.test_datasets]
        loaded = session.collection.loaded_bytes(samples, "train")
        loaded += sum(session.collection.loaded_bytes(size, "test") for size in tests)
        train_seconds += samples * budget.epochs / speeds.train(task.spec.method_name)
        scored += sum(tests)
        trainable = _BYTES_PER_PARAMETER * task.trainable_parameters
        weights += trainable
        memory = max(
            memory,
            network
            + trainable * _COPIES_IN_TRAINING
            + min(budget.batch, samples) * speeds.step_bytes_per_sample
            + loaded,
        )
    cpu = session.numerics.device.type == "cpu"
    present = psutil.Process().memory_info().rss if cpu else 0
    return Estimate(
        simulate_seconds=plan.records_to_simulate / speeds.simulate_records_per_second,
        train_seconds=train_seconds,
        score_seconds=scored / speeds.score_samples_per_second,
        memory_bytes=present + round(memory),
        disk_bytes=plan.records_to_simulate * BYTES_PER_SAMPLE + weights,
    )
