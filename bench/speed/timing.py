"""Interleaved timing: a warm-up, then rounds in which every task has its turn."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

import torch


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds of one task's turns."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.seconds)

    @property
    def spread(self) -> float:
        """Slowest less fastest turn, as a part of the median."""
        return (max(self.seconds) - min(self.seconds)) / self.median


def interleave(
    tasks: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    device: torch.device,
    finished: Callable[[int], None],
) -> dict[str, Timing]:
    """Time each task `rounds` times, turn by turn, so that a slow minute hits them all.

    Each runs twice untimed first. The device is synchronised around every turn; `finished` hears
    of each.
    """
    for work in tasks.values():
        for _ in range(2):
            work()
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, work in tasks.items():
            _synchronise(device)
            start = time.perf_counter()
            work()
            _synchronise(device)
            seconds[name].append(time.perf_counter() - start)
            finished(1)
    return {name: Timing(seconds=tuple(values)) for name, values in seconds.items()}


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
