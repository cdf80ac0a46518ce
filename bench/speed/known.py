"""Speeds of this machine, measured once and kept in the home folder, for estimates."""

import json
import time
from collections.abc import Callable

import numpy as np
import psutil
import torch
from pydantic import ValidationError

from bench import backbones, maps, physics, survey
from bench.contract import Config
from bench.plugins import adaptation
from bench.plugins.pretraining import PRETRAINING
from bench.record import write_atomically
from bench.session import Session
from bench.spec import Frozen, digest
from bench.training import probe, train

_BATCH = 8


class Speeds(Frozen):
    """Full fine-tuning's speeds; other methods are about as fast."""

    simulate_records_per_second: float
    train_samples_per_second: float
    score_samples_per_second: float
    step_bytes: int
    """Resident memory that the training step added."""


def measured(session: Session) -> Speeds:
    """From the home's file if this machine has been measured before, else now (seconds)."""
    device = session.numerics.device
    key = digest([probe.machine().model_dump(), str(device), torch.__version__, session.backbone])
    path = session.home.machine_file
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        return Speeds.model_validate(known[key])
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        session.progress.say("Measuring this machine's speed …")
    speeds = _measure(session)
    write_atomically(path, json.dumps({key: speeds.model_dump()}, indent=1).encode())
    return speeds


def _measure(session: Session) -> Speeds:
    numerics = session.numerics
    device, process = numerics.device, psutil.Process()
    rng = np.random.default_rng(0)
    velocity = torch.from_numpy(
        np.stack([maps.velocity_map("FlatVel_A", rng) for _ in range(4)])
    ).to(device)
    simulate = _seconds(lambda: physics.simulate(velocity), device)
    before = process.memory_info().rss
    model = backbones.build(session.backbone)
    adapted = adaptation.adapt(PRETRAINING, model, Config())
    numerics.place(model)
    adam = train.optimiser(adapted, 1.0)
    x = torch.zeros((_BATCH, 1000, 70, 5), dtype=torch.float16, device=device).permute(0, 3, 1, 2)
    y = torch.zeros((_BATCH, 1, *survey.MAP_SHAPE), device=device)
    adaptation.training_mode(model, "both")
    step = _seconds(
        lambda: train.train_step(adapted, adam, x, y, rate=0.0, numerics=numerics), device
    )
    step_bytes = process.memory_info().rss - before
    model.eval()
    with torch.inference_mode():
        score = _seconds(lambda: model(x.float()), device)
    return Speeds(
        simulate_records_per_second=len(velocity) / simulate,
        train_samples_per_second=_BATCH / step,
        score_samples_per_second=_BATCH / score,
        step_bytes=max(0, step_bytes),
    )


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """Of the second call; the first warms up."""
    for _ in range(2):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    return time.perf_counter() - start
