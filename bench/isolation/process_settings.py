"""Settings of Python and of the process that can change a number, or how a command ends."""

import gc
import os
import signal
import sys
from typing import Any

import numpy as np

from bench.isolation.setting import Setting, attribute


def _read_handlers() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in signal.valid_signals()}


def _write_handlers(before: dict[int, Any]) -> None:
    for number, handler in before.items():
        if handler is not None and signal.getsignal(number) != handler:
            signal.signal(number, handler)


def _read_folder() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109  # without symbolic links resolved, and quick
    except FileNotFoundError:  # it has been deleted
        return None


def _write_folder(before: str | None) -> None:
    if before is not None:
        os.chdir(before)


_OWN_VARIABLES = "BENCH_"
_KNOWN_VARIABLES = frozenset(os.environ)


def _read_environment() -> dict[str, str]:
    """Variables that were set when the process began, and all of this program's; libraries set
    others for themselves."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in _KNOWN_VARIABLES or name.startswith(_OWN_VARIABLES)
    }


def _write_environment(before: dict[str, str]) -> None:
    for name in _read_environment().keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


_UNIX: tuple[Setting, ...] = ()
if sys.platform != "win32":  # which has neither timers nor masks of signals
    _TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)

    def _read_timers() -> list[bool]:
        return [signal.getitimer(timer)[0] > 0 for timer in _TIMERS]

    def _write_timers(before: list[bool]) -> None:
        for timer, running in zip(_TIMERS, before, strict=True):
            if not running:
                signal.setitimer(timer, 0)

    _UNIX = (
        Setting("timers", _read_timers, _write_timers),
        Setting(
            "the signal mask",
            lambda: signal.pthread_sigmask(signal.SIG_BLOCK, ()),
            lambda before: signal.pthread_sigmask(signal.SIG_SETMASK, before),
        ),
    )

PROCESS = (
    Setting("the working directory", _read_folder, _write_folder),
    Setting("environment variables", _read_environment, _write_environment),
    Setting("signal handlers", _read_handlers, _write_handlers),
    *_UNIX,
    Setting("numpy's error handling", np.geterr, lambda before: np.seterr(**before)),
    Setting("the recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
    Setting(
        "garbage collection", gc.isenabled, lambda before: gc.enable() if before else gc.disable()
    ),
    Setting("the trace function", sys.gettrace, sys.settrace),
    Setting("the profile function", sys.getprofile, sys.setprofile),
    Setting("the exception hook", *attribute(sys, "excepthook")),
)
