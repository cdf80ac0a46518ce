"""What a plan costs on this machine: time, memory and disk."""

from dataclasses import dataclass

import psutil

from bench.data import layout
from bench.data.generate import BYTES_PER_SAMPLE
from bench.data.pools import BYTES_PER_LOADED_SAMPLE, SMALLEST_SUBSET
from bench.plan import Plan, Task
from bench.session import Session
from bench.spec import Track
from bench.speed.known import Speeds

_FIT_OVERHEAD_SECONDS = 0.7
"""Building and hashing networks and writing files, a fit; as in records of track `smoke`."""
_BYTES_PER_PARAMETER = 4


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What is still to be spent."""

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
    trained = scored = loaded = weights = 0
    for task in plan.tasks:
        samples = _train_samples(task, track)
        budget = track.pretrain if task.installed is None else track.fit
        tests = sum(_size(name, "test", track) for name in task.spec.test_datasets)
        trained += samples * budget.epochs
        scored += tests
        loaded = max(loaded, samples + tests)
        weights += _BYTES_PER_PARAMETER * task.trainable_parameters
    return Estimate(
        simulate_seconds=plan.records_to_simulate / speeds.simulate_records_per_second,
        train_seconds=trained / speeds.train_samples_per_second
        + _FIT_OVERHEAD_SECONDS * len(plan.tasks),
        score_seconds=scored / speeds.score_samples_per_second,
        memory_bytes=psutil.Process().memory_info().rss
        + speeds.step_bytes
        + loaded * BYTES_PER_LOADED_SAMPLE,
        disk_bytes=plan.records_to_simulate * BYTES_PER_SAMPLE + weights,
    )


def _train_samples(task: Task, track: Track) -> int:
    return sum(
        max(SMALLEST_SUBSET, _size(name, "train", track) * task.spec.percent // 100)
        for name in task.spec.datasets
    )


def _size(dataset: str, split: layout.Split, track: Track) -> int:
    return sum(pair.samples for pair in layout.files(dataset, split, track.data))
