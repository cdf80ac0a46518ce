"""Shares of this machine for worker processes: one GPU each, or some of the processor's cores."""

import os
from dataclasses import dataclass

import torch

from bench.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Share:
    """The part of this machine that one worker gets."""

    environment: dict[str, str]
    device: str
    """The device, as an argument of `bench.training.numerics.choose`."""


def shares(workers: str, device: str) -> list[Share]:
    """Shares for ``--workers``: a number, `gpus` (one for each GPU) or `auto`.

    `auto` is `gpus` where the device is or may be a GPU and there is one, else a worker for each
    core. Raises `ConfigError` for another word, or for more workers than there are GPUs.
    """
    if workers not in ("auto", "gpus") and not (workers.isdecimal() and int(workers)):
        raise ConfigError(f"--workers {workers}: write a number from 1 on, auto or gpus.")
    if ":" in device:
        raise ConfigError(
            f"--device {device} is one GPU; with --workers use --device cuda, and name the GPUs "
            "with CUDA_VISIBLE_DEVICES."
        )
    gpus = _gpus() if device in ("auto", "cuda") else []
    if not gpus and (workers == "gpus" or device == "cuda"):
        raise ConfigError(
            "torch finds no CUDA GPU for the workers on this machine; use --workers auto with "
            "--device cpu, or check the driver with nvidia-smi."
        )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = cores or 1
    number = int(workers) if workers.isdecimal() else len(gpus) or cores
    if gpus and number > len(gpus):
        raise ConfigError(
            f"--workers {number} is more than the {len(gpus)} GPU{'s' * (len(gpus) > 1)} here, one "
            "a worker; use --workers gpus, or --device cpu to share the processor."
        )
    threads = str(max(1, cores // number))
    return [
        Share(
            environment={"OMP_NUM_THREADS": threads}
            | ({"CUDA_VISIBLE_DEVICES": gpus[index]} if gpus else {}),
            device="cuda" if gpus else "cpu",
        )
        for index in range(number)
    ]


def _gpus() -> list[str]:
    """Names of the visible GPUs, as CUDA_VISIBLE_DEVICES wants them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    if visible:
        return visible.split(",")[:count]
    return [str(number) for number in range(count)]
