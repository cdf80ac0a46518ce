"""Speeds of this machine, kept in the home folder for the estimates of `bench run`."""

import json
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from pydantic import PositiveFloat, ValidationError

from bench.atomic import write_atomically
from bench.contract import Config
from bench.models import backbones
from bench.plugins import adaptation
from bench.plugins.pretraining import PRETRAINING
from bench.protocol import survey
from bench.protocol.spec import Frozen, digest
from bench.runner.context import RunContext
from bench.runner.workspace import Workspace
from bench.seismic import generators, simulation
from bench.training import evaluate, probe, train
from bench.training.memory_traffic import Traffic
from bench.training.numerics import Numerics

_BATCH, _GPU_BATCH = 8, 32
_MEASURING_SECONDS, _LEAST_CALLS = 0.5, 2
"""How long each speed is measured at least, and from how many calls."""


class Speeds(Frozen):
    """Throughputs of this machine, and the memory of training steps."""

    simulate_records_per_second: PositiveFloat
    score_samples_per_second: PositiveFloat
    train_samples_per_second: dict[str, PositiveFloat]
    """Speeds of the methods that were measured, by name; at least one."""
    step_bytes_per_sample: float
    """Most bytes alive at once in a training step, but for parameters, gradients and optimiser."""

    def train(self, method: str) -> float:
        """Samples a second of a method; of one that is not measured, as of a typical one."""
        known = self.train_samples_per_second
        return known.get(method, median(known.values()))


def measured(context: RunContext) -> Speeds:
    """Speeds from the workspace's file for this machine, else measured now (seconds)."""
    about = context.workspace, context.backbone.name, context.numerics
    if speeds := load(*about):
        return speeds
    context.progress.say("Measuring this machine's speed …")
    return store(*about, _measure(context.backbone.name, context.numerics))


def load(workspace: Workspace, backbone: str, numerics: Numerics) -> Speeds | None:
    """Stored speeds for this machine and these settings; None if there are none that are valid."""
    return _read(workspace).get(_key(backbone, numerics))


def store(workspace: Workspace, backbone: str, numerics: Numerics, speeds: Speeds) -> Speeds:
    """Store speeds; those of methods that were not measured this time are kept."""
    kept, key = _read(workspace), _key(backbone, numerics)
    if known := kept.get(key):
        methods = known.train_samples_per_second | speeds.train_samples_per_second
        speeds = speeds.model_copy(update={"train_samples_per_second": methods})
    content = {k: s.model_dump() for k, s in (kept | {key: speeds}).items()}
    write_atomically(workspace.machine_file, json.dumps(content, indent=1).encode())
    return speeds


def _key(backbone: str, numerics: Numerics) -> str:
    """Hash of everything that a speed depends on."""
    facts = [probe.machine().model_dump(), numerics.describe().model_dump()]
    return digest([*facts, torch.__version__, backbone])


def _read(workspace: Workspace) -> dict[str, Speeds]:
    try:
        content = json.loads(workspace.machine_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    speeds = {}
    for key, value in content.items() if isinstance(content, dict) else ():
        try:
            speeds[key] = Speeds.model_validate(value)
        except ValidationError:  # of another version of this program: measured again
            continue
    return speeds


def _measure(backbone: str, numerics: Numerics) -> Speeds:
    """A quick look: full training, which most methods are about as fast as."""
    device = numerics.device
    batch = _BATCH if device.type == "cpu" else _GPU_BATCH
    rng = np.random.default_rng(0)
    velocity = torch.from_numpy(
        np.stack([generators.velocity_map("FlatVel_A", rng) for _ in range(batch // 2)])
    ).to(device)
    simulate = _seconds(lambda: simulation.simulate(velocity), device)
    model = backbones.build(backbone)
    adapted = adaptation.adapt(PRETRAINING, model, Config())
    numerics.place(model)
    adam = train.optimiser(adapted, 1.0)
    x = torch.zeros((batch, 1000, 70, 5), dtype=torch.float16, device=device).permute(0, 3, 1, 2)
    y = torch.zeros((batch, 1, *survey.MAP_SHAPE), device=device)
    adaptation.training_mode(model, "both")
    with numerics.frugal_pass(model):
        step = train.step_function(adapted, adam, numerics)
        seconds = _seconds(lambda: step(x, y), device)
        with Traffic() as traffic:
            train.training_step(adapted, adam, x, y, numerics=numerics)
    gradients = sum(p.nbytes for p in model.parameters())
    model.eval()
    with numerics.frugal_pass(model, fold=True), torch.inference_mode():
        score = _seconds(lambda: evaluate.score_batch(model, x, y), device)
    return Speeds(
        simulate_records_per_second=len(velocity) / simulate,
        train_samples_per_second={PRETRAINING.name: batch / seconds},
        score_samples_per_second=batch / score,
        step_bytes_per_sample=max(0.0, traffic.peak_bytes - gradients) / batch,
    )


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """Seconds for the fastest of several calls; slower ones were held up by other processes.

    A warm-up comes first. It is longer on a GPU, where a training step is captured after a few
    calls.
    """
    for _ in range(1 if device.type == "cpu" else 5):
        _call_seconds(work, device)
    begin = time.perf_counter()
    seconds: list[float] = []
    while len(seconds) < _LEAST_CALLS or time.perf_counter() - begin < _MEASURING_SECONDS:
        seconds.append(_call_seconds(work, device))
    return min(seconds)


def _call_seconds(work: Callable[[], object], device: torch.device) -> float:
    begin = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begin
