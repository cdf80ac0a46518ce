"""Cost of a plan on this machine: time, memory and disk."""

from dataclasses import dataclass

import psutil
import torch

from bench.data.generate import BYTES_PER_SAMPLE
from bench.errors import BenchError
from bench.isolation import isolated
from bench.plugins import adaptation, batchnorm, parameter_counts
from bench.protocol.spec import FitSpec
from bench.runner import evaluation, pretraining
from bench.runner.context import RunContext
from bench.runner.machine_speeds import Speeds
from bench.runner.plan import Plan, epoch_samples
from bench.training import prefix, train

_FIT_OVERHEAD_SECONDS = 0.7
"""Building and hashing networks and writing files, a fit; as in records of track `smoke`."""
_BYTES_PER_PARAMETER = 4
_COPIES_IN_TRAINING = 3
"""Copies of a trained parameter beside itself: its gradient and AdamW's two moments."""


@dataclass(frozen=True, kw_only=True)
class CostEstimate:
    """Remaining time, memory and disk of a plan.

    Memory is that of the most demanding fit, its data included: all of the process on a CPU, the
    device's on a GPU. Activations that are computed once and kept are among it.
    """

    simulate_seconds: float
    train_seconds: float
    score_seconds: float
    memory_bytes: int
    disk_bytes: int

    @property
    def seconds(self) -> float:
        return self.simulate_seconds + self.train_seconds + self.score_seconds


def estimate(plan: Plan, context: RunContext, speeds: Speeds) -> CostEstimate:
    """Estimate the cost of a plan from its counts and measured speeds."""
    fits = [job for job in plan.jobs if job.key in plan.untrained and job.spec.kind != "floor"]
    train_seconds = _FIT_OVERHEAD_SECONDS * len(fits)
    scored = weights = 0
    memory = 0.0
    known: dict[tuple[str, int], int] = {}
    network = _BYTES_PER_PARAMETER * parameter_counts.backbone_parameters(context.backbone.name)
    for job in plan.jobs:
        tests = [evaluation.samples(job.spec, test, context) for test in job.tests]
        scored += sum(tests)
        loaded = context.datasets.loaded_bytes(tests, "test")
        needed = float(network)
        if job.key in plan.untrained and plan.trainable_parameters[job.key]:
            samples = epoch_samples(job.spec, context.track)
            budget = context.track.budget(job.spec.kind)
            seconds = samples * budget.epochs / speeds.train(job.spec.method.name)
            train_seconds += seconds / _speed_up(job.spec, context)
            trainable = _BYTES_PER_PARAMETER * plan.trainable_parameters[job.key]
            weights += trainable
            loaded += context.datasets.loaded_bytes([samples], "train")
            needed += trainable * _COPIES_IN_TRAINING
            needed += min(budget.batch, samples) * speeds.step_bytes_per_sample
            needed += _prefix_bytes(job.spec, context, known)
        memory = max(memory, needed + loaded)
    cpu = context.numerics.device.type == "cpu"
    present = psutil.Process().memory_info().rss if cpu else 0
    return CostEstimate(
        simulate_seconds=plan.records_to_simulate / speeds.simulate_records_per_second,
        train_seconds=train_seconds,
        score_seconds=scored / speeds.score_samples_per_second,
        memory_bytes=present + round(memory),
        disk_bytes=plan.records_to_simulate * BYTES_PER_SAMPLE + weights,
    )


def _prefix_bytes(spec: FitSpec, context: RunContext, known: dict[tuple[str, int], int]) -> int:
    """Bytes of activations that a fit keeps (`bench.training.prefix`).

    0 for a method that cannot be adapted or run without weights: then none are counted. `known`
    has those of other fits, and gets this one's.
    """
    samples = epoch_samples(spec, context.track)
    key = spec.method.model_dump_json(), samples
    if spec.kind != "adaptation" or key in known:
        return known.get(key, 0)
    try:
        method = context.installed(spec).method
        config = method.config(**spec.method.config)
        adapted = adaptation.adapt(method, parameter_counts.skeleton(spec.backbone.name), config)
        train.activate(adapted, 0.0)
        policy = batchnorm.effective(method, config).traits.batchnorm
        adaptation.training_mode(adapted.model, policy)
        with isolated(f"Method '{method.name}'", "estimate"):
            known[key] = prefix.expected_bytes(
                adapted,
                samples,
                epochs=context.track.budget(spec.kind).epochs,
                budget_bytes=context.datasets.activation_limit,
                numerics=context.numerics,
            )
    except BenchError:
        known[key] = 0
    return known[key]


def _speed_up(spec: FitSpec, context: RunContext) -> float:
    """How much faster a fit is than was measured on one device with all threads.

    Sharded pretraining on a CPU computes with one thread in each process.
    """
    if not pretraining.is_sharded(spec, context.track):
        return 1.0
    processes = max(context.pretrain_devices, context.group.size)
    threads = torch.get_num_threads() if context.numerics.device.type == "cpu" else 1
    return processes / threads
