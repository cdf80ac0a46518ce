"""Ctrl-C and SIGTERM of batch systems: stop cleanly and say how to resume."""

import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import typer


@contextmanager
def interruptible(*, keeps: bool = True) -> Iterator[None]:
    """Context in which SIGTERM (Slurm, `kill`) acts like Ctrl-C; either exits with code 130.

    `keeps`: what is finished is kept, so that the same command goes on.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        again = shlex.join(["bench", *sys.argv[1:]])
        how = (
            "What is finished is kept; go on with the same command:"
            if keeps
            else "Nothing is kept; start again with:"
        )
        typer.echo(f"\nInterrupted. {how}\n  {again}", err=True)
        raise typer.Exit(130) from None
    finally:
        signal.signal(signal.SIGTERM, before)
