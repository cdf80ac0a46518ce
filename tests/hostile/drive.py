"""Trains and scores methods on Style_B in one process, one after the other, as `bench run` does.

    python drive.py HOME TRACK RESULT method …

Writes to RESULT, as JSON, each method's status and error, and whether the process computes after it
what it computed before.
"""

import hashlib
import json
import os
import signal
import sys
from pathlib import Path

import torch
from torch import nn

from bench.plugins import options
from bench.progress import Silent
from bench.protocol import protocols, tracks
from bench.runner.context import RunContext
from bench.runner.jobs import execute_job
from bench.runner.plan import plan
from bench.runner.workspace import Workspace
from bench.seeds import seed_everything
from bench.seismic import metrics
from bench.training import evaluate, numerics

ROOM = Path.cwd()


def computed() -> str:
    """Hash of a little of everything: a training step, scores, random numbers, settings."""
    seed_everything(7)
    network = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.Conv2d(2, 1, 1))
    adam = torch.optim.AdamW(network.parameters())
    maps = torch.rand(2, 1, 70, 70)
    network(maps).square().mean().backward()
    adam.step()
    _, scores = evaluate.score_batch(network.eval(), maps, maps + 0.1)
    settings = (
        *(torch.get_num_threads(), torch.get_float32_matmul_precision(), Path.cwd() == ROOM),
        *(torch.are_deterministic_algorithms_enabled(), sys.getrecursionlimit()),
        *(signal.getsignal(signal.SIGINT) is signal.default_int_handler, sys.stdout.closed),
        *(os.environ["BENCH_HOME"], len(metrics.METRICS), len(sys.modules["numpy"].__name__)),
    )
    digest = hashlib.sha256(repr(settings).encode())
    for tensor in (*network.state_dict().values(), *scores.values()):
        digest.update(repr(tensor.dtype).encode() + tensor.detach().numpy().tobytes())
    return digest.hexdigest()


def main(home: str, track: str, result: str, *names: str) -> None:
    before = computed()
    context = RunContext(
        workspace=Workspace(Path(home)),
        track=tracks.load(track),
        backbone=_backbone(track),
        numerics=numerics.choose("cpu"),
        progress=Silent(),
        command=("drive",),
    )
    chosen = options.methods(names, options.load(names))
    choices, _ = options.choose(chosen, [], context.backbone.name, skip_unfit=False)
    found = {"choosing": {"same": computed() == before}}
    for job in plan(protocols.get("ood"), choices, (0,), context).jobs:
        if job.spec.datasets == ("Style_B",) and job.spec.kind == "adaptation":
            record = execute_job(job, context)
            found[job.spec.method.name] = {
                "status": record.status,
                "error": record.error,
                "cells": len(record.cells),
                "same": computed() == before,
            }
    Path(result).write_text(json.dumps(found), encoding="utf-8")


def _backbone(track: str):
    from bench.models import backbones

    return backbones.spec(tracks.load(track).default_backbone)


if __name__ == "__main__":
    main(*sys.argv[1:])
