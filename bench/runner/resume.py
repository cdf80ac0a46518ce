"""Checkpoints of unfinished training, from which it resumes after the last full epoch.

All of it lies in the folder ``unfinished`` of the run and is gone when the record is written. It
belongs to a key, a hash of everything that the numbers depend on; under another key it is dropped.
"""

import pickle
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from bench.atomic import atomic_file, remove_leftovers, write_atomically
from bench.contract import Adapted
from bench.records.record import Epoch

FOLDER = "unfinished"
_BYTES_PER_SECOND = 1e9
"""Speed of writing that is assumed until it has been measured."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """State after the last epoch of `curve`. Seeds are set anew each epoch, so none are kept."""

    changed: dict[str, Tensor]
    """Tensors of the network that training may change, by name."""
    optimiser: dict[str, Any] | None
    curve: list[Epoch]
    seconds: float
    resumed: int


class CheckpointStore:
    """Checkpoint store of one unfinished run. Writing raises `HomeError`."""

    def __init__(self, run: Path, key: str) -> None:
        self._folder = run / FOLDER
        key_file = self._folder / "key"
        if not key_file.exists() or key_file.read_text(encoding="utf-8") != key:
            self.discard()
            write_atomically(key_file, key.encode())
        remove_leftovers(self._folder)

    def save(self, checkpoint: Checkpoint) -> None:
        content = {
            "changed": checkpoint.changed,
            "optimiser": checkpoint.optimiser,
            "curve": [epoch.model_dump() for epoch in checkpoint.curve],
            "seconds": checkpoint.seconds,
            "resumed": checkpoint.resumed,
        }
        self._write("checkpoint.pt", lambda file: _torch_save(content, file))

    def load(self) -> Checkpoint | None:
        """The last checkpoint; None where there is none that can be read."""
        try:
            path = self._folder / "checkpoint.pt"
            content = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError):
            return None
        content["curve"] = [Epoch.model_validate(epoch) for epoch in content["curve"]]
        return Checkpoint(**content)

    def kept_epochs(self) -> int:
        """Number of epochs that an interruption does not lose."""
        kept = self.load()
        return len(kept.curve) if kept else 0

    def discard(self) -> None:
        """Remove it all."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _write(self, name: str, write: Callable[[BinaryIO], object]) -> None:
        with atomic_file(self._folder / name, durable=False) as file:
            write(file)


def progress(run: Path) -> int:
    """A number that changes with every checkpoint of a run; 0 where there is none."""
    try:
        return (run / FOLDER / "checkpoint.pt").stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _torch_save(content: dict[str, Any], file: BinaryIO) -> None:
    try:
        torch.save(content, file)
    except RuntimeError as error:  # torch hides what the file has raised
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def checkpoint_bytes(adapted: Adapted) -> int:
    """About the size of a checkpoint: what is trained, and AdamW's two moments."""
    return 3 * sum(p.nbytes for group in adapted.groups for p in group.parameters)


class CheckpointSchedule:
    """Says when a checkpoint is due: after an epoch, where all of them together with this one take
    no more than `share` of the time since training began."""

    def __init__(self, share: float, size: int) -> None:
        """`size`: bytes of a checkpoint, from which the time for the first one is guessed."""
        self._share, self._next, self._spent = share, size / _BYTES_PER_SECOND, 0.0
        self._start = time.perf_counter()

    @property
    def due(self) -> bool:
        passed = time.perf_counter() - self._start
        return self._spent + self._next <= self._share * passed

    @contextmanager
    def writing(self) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._next = time.perf_counter() - start
        self._spent += self._next
