"""Ctrl-C and the termination signal of batch systems: stop in order, say how to go on."""

import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import typer


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside, SIGTERM (Slurm, `kill`) works like Ctrl-C; either ends the command with 130."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        again = shlex.join(["bench", *sys.argv[1:]])
        typer.echo(
            f"\nInterrupted. What is finished is kept; go on with the same command:\n  {again}",
            err=True,
        )
        raise typer.Exit(130) from None
    finally:
        signal.signal(signal.SIGTERM, before)
