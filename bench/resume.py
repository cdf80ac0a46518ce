"""The checkpoint of a fit in progress: what it takes to go on after the last finished epoch."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.record import Epoch, write_atomically

FILE = "checkpoint.pt"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """State after the last epoch of `curve`. Seeds are set anew each epoch, so none are kept."""

    changed: dict[str, Tensor]
    optimiser: dict[str, Any] | None
    curve: list[Epoch]
    seconds: float
    resumed: int


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write the checkpoint, whole or not at all. Raises `HomeError` on a full disk."""
    buffer = io.BytesIO()
    content = {
        "changed": checkpoint.changed,
        "optimiser": checkpoint.optimiser,
        "curve": [epoch.model_dump() for epoch in checkpoint.curve],
        "seconds": checkpoint.seconds,
        "resumed": checkpoint.resumed,
    }
    torch.save(content, buffer)
    write_atomically(folder / FILE, buffer.getvalue())


def load(folder: Path) -> Checkpoint | None:
    """The checkpoint of a run's folder; None where there is none that can be read."""
    try:
        content = torch.load(folder / FILE, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError):
        return None
    content["curve"] = [Epoch.model_validate(epoch) for epoch in content["curve"]]
    return Checkpoint(**content)


def discard(folder: Path) -> None:
    """Remove the checkpoint of a finished fit."""
    (folder / FILE).unlink(missing_ok=True)
