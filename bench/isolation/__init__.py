"""Boundary around plugin code: its errors are contained, its changes of global state undone.

    with isolated("Method 'lora'", "adapt"):
        adapted = method.adapt(model, config)

This holds accidents and carelessness off the other plugins' numbers. It is no sandbox: a plugin is
Python code in the harness's own process, and whoever installs one trusts it that far.
"""

import os
import signal
import sysconfig
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NoReturn

import torch

from bench.errors import BenchError, ConfigError, MethodError, PluginError, describe
from bench.isolation.functions import Functions
from bench.isolation.settings import Settings
from bench.isolation.streams import Streams

__all__ = ["contained", "is_interruption", "isolated", "listed", "where"]

_PUT_BACK = "what can be put back has been"  # threads cannot be ended
_HARNESS = str(Path(__file__).parents[1]) + os.sep
_TORCH = str(Path(torch.__file__).parent) + os.sep
_PYTHON = sysconfig.get_path("stdlib") + os.sep


@contextmanager
def isolated(who: str, place: str, *, error: type[PluginError] = MethodError) -> Iterator[None]:
    """Run code of a plugin; process-wide state is afterwards as it was before.

    `who` is the plugin, such as ``Method 'lora'``; `place` what it does, such as ``training``.

    Raises `error` for whatever the plugin raises, `SystemExit` and a `KeyboardInterrupt` of its own
    included, and where it has changed settings of Python or torch, or replaced functions, naming
    plugin, place and what was changed. A `BenchError` that the harness itself raises inside passes,
    and so does a plugin's `ConfigError`. Ctrl-C and SIGTERM raise `KeyboardInterrupt`, even if the
    plugin catches it.
    """
    problem: BaseException | None = None
    changed: list[str] = []
    with contained(changed):
        try:
            yield
        except BaseException as raised:  # a plugin may fail in any way
            problem = raised
    also = f" It also changed {listed(changed)}; {_PUT_BACK}." if changed else ""
    if problem is not None:
        _raise(problem, who, place, also, error)
    if changed:
        raise error(
            f"{who} changed {listed(changed)} of the whole process in {place}, which it must "
            f"leave alone; {_PUT_BACK}."
        )


@contextmanager
def contained(changed: list[str]) -> Iterator[None]:
    """Put process-wide state back afterwards; what was changed is added to `changed`.

    Errors pass, but for those that a plugin makes of Ctrl-C.
    """
    with _signals() as came, _no_exit():
        watched = (Streams(), Settings(), Functions())
        try:
            yield
        finally:
            for state in watched:
                changed += state.restore()
            if came:
                raise KeyboardInterrupt


@contextmanager
def _signals() -> Iterator[list[int]]:
    """The numbers of the interrupting signals that have come from outside, as they come."""
    came: list[int] = []
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():  # no other gets them
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            if callable(handler):
                before[number] = handler
                signal.signal(number, _noting(came, handler))
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _no_exit() -> Iterator[None]:
    """Makes an error of `os._exit`, which would end the process before anything is recorded."""
    before, _INSIDE[0] = os._exit, _INSIDE[0] + 1
    os._exit = _refuse_exit
    try:
        yield
    finally:
        _INSIDE[0] -= 1
        os._exit = before


def _refuse_exit(status: int) -> NoReturn:
    if _INSIDE[0] and os.getpid() == _PROCESS:
        raise SystemExit(f"os._exit({status})")
    _EXIT(status)  # in a process that a plugin has forked, this is how to end


_EXIT, _PROCESS, _INSIDE = os._exit, os.getpid(), [0]
"""The true function, the process it would end, and how many plugins' calls are under way."""


def _noting(came: list[int], handler: Callable[..., Any]) -> Callable[..., Any]:
    def note(number: int, frame: FrameType | None) -> Any:
        came.append(number)
        return handler(number, frame)

    return note


def is_interruption(problem: BaseException) -> bool:
    """Whether an error from inside `contained` is the user's Ctrl-C, not one that a plugin made."""
    return isinstance(problem, KeyboardInterrupt) and _ends_in_harness(problem.__traceback__)


def _raise(
    problem: BaseException, who: str, place: str, also: str, error: type[PluginError]
) -> NoReturn:
    if is_interruption(problem):
        raise problem
    if isinstance(problem, BenchError) and _ends_in_harness(problem.__traceback__):
        raise problem
    if isinstance(problem, ConfigError):
        raise ConfigError(describe(problem)) from problem
    text = describe(problem).rstrip(".")
    raise error(f"{who} failed in {place}: {text}{where(problem)}.{also}") from problem


def _ends_in_harness(trace: TracebackType | None) -> bool:
    """Whether the harness's own code raised it, not a plugin's."""
    frames = traceback.extract_tb(trace)
    return bool(frames) and frames[-1].filename.startswith(_HARNESS)


def where(problem: BaseException) -> str:
    """The plugin's line that an error comes from, such as `` (my_method.py:12)``, whatever code of
    torch, of Python or of the harness it has called; empty for an attempt to end the process."""
    frames = traceback.extract_tb(problem.__traceback__)
    if not frames or frames[-1].filename == __file__:
        return ""
    theirs = [frame for frame in frames if not _foreign(frame.filename)]
    last = theirs[-1] if theirs else frames[-1]
    return f" ({Path(last.filename).name}:{last.lineno})"


def _foreign(file: str) -> bool:
    """Whether code is of the harness, of torch or of Python, not of a plugin."""
    packaged = "site-packages" in file or "dist-packages" in file  # within Python's own folder
    return file.startswith((_HARNESS, _TORCH)) or (file.startswith(_PYTHON) and not packaged)


def listed(changed: list[str]) -> str:
    """A few of the changes, as a sentence has them."""
    few, more = changed[:5], len(changed) - 5
    if more > 0:
        few = [*few, f"{more} more"]
    return few[0] if len(few) == 1 else f"{', '.join(few[:-1])} and {few[-1]}"
