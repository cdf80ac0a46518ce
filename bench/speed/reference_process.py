"""The reference loop in a process of its own, as a script would run it.

In the harness's process it would find the allocator's settings, a warm heap and TF32 switched on.
"""

import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection

import torch

from bench.errors import BenchError
from bench.speed.reference import Array, PlainLoop

Turns = Mapping[str, Callable[[], None]]
"""By what they do: "train", "score" or "read" every sample once."""


@contextmanager
def reference_process(
    records: Array, maps: Array, *, backbone: str, batch: int, device: torch.device
) -> Iterator[Turns]:
    """Run the reference loop in a process, which waits between turns and ends with the context."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_serve,
        args=(there, records, maps, backbone, batch, device, torch.get_num_threads()),
        daemon=True,
    )
    process.start()
    there.close()

    def turn(kind: str) -> None:
        try:
            here.send(kind)
            here.recv()
        except (EOFError, OSError) as error:
            raise BenchError(
                "The reference loop's process has ended by itself, perhaps for lack of memory; "
                "try a smaller --batch, or leave --against out."
            ) from error

    try:
        yield {kind: partial(turn, kind) for kind in ("train", "score", "read")}
    finally:
        here.close()
        process.join()


def _serve(
    pipe: Connection,
    records: Array,
    maps: Array,
    backbone: str,
    batch: int,
    device: torch.device,
    threads: int,
) -> None:
    torch.set_num_threads(threads)
    loop = PlainLoop(records, maps, backbone=backbone, batch=batch, device=device)
    turns: dict[str, Callable[[], object]] = {
        "train": loop.train_epoch,
        "score": loop.score_epoch,
        "read": lambda: list(loop.batches()),
    }
    while True:
        try:
            turns[pipe.recv()]()
        except EOFError:
            return
        pipe.send(None)
