"""The command `bench` in processes of its own that need not import torch again.

Python and its imports take seven seconds of a processor before a command trains anything. A server
imports them once in a test session, and each command is forked from it: with its own arguments,
environment, output, signals and exit code. A test of how Python starts (``sitecustomize``, the
encoding of its output, what is imported) has to use `subprocess`.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

_IMPORTED_ONCE = (
    *("polars", "torch._dynamo", "torch.distributed", "deepwave"),  # optimisers import dynamo
    *("scipy.special", "scipy.stats", "skimage", "pydantic.main", "safetensors.torch"),
    *("typer", "rich.progress"),
)
"""Polars starts a thread, which idles long before anything is forked. Nothing of the harness:
its modules must see the process that they work in."""
_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(list(_IMPORTED_ONCE))


class Command:
    """A running command, used like `subprocess.Popen` with text on its standard streams.

    Parameters
    ----------
    words
        The command line after ``bench``.
    home
        Its home folder.
    environment
        Variables that differ from those of this process.
    """

    def __init__(self, *words: str, home: Path, **environment: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="command-")
        self._streams = [Path(self._folder.name) / name for name in ("output", "error")]
        everything = os.environ | {"BENCH_HOME": str(home)} | environment
        self._process = _server.Process(
            target=_run, args=(words, everything, Path.cwd(), self._streams)
        )
        self._process.start()

    @property
    def pid(self) -> int:
        """The number of the process."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, the negative number of the signal that ended it, None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """The same as `returncode`."""
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to this process, not to those that it has started."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end; standard output and error.

        Raises `subprocess.TimeoutExpired` after `timeout` seconds.
        """
        self._process.join(timeout)
        if self.returncode is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired("bench", timeout, self._said(0), self._said(1))
        return self._said(0), self._said(1)

    def _said(self, stream: int) -> str:
        path = self._streams[stream]
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def __enter__(self) -> "Command":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()
        self._process.join()
        self._folder.cleanup()


def run(
    *words: str, home: Path, timeout: float = 1200, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; raises `subprocess.TimeoutExpired` after `timeout` seconds."""
    with Command(*words, home=home, **environment) as command:
        output, error = command.communicate(timeout)
        assert command.returncode is not None
        return subprocess.CompletedProcess(words, command.returncode, output, error)


@contextmanager
def fresh(*words: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A module, ``python -m WORDS``, in a process that starts as in real life, until the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", *words],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _run(
    words: tuple[str, ...], environment: dict[str, str], folder: Path, streams: list[Path]
) -> None:
    """What ``python -m bench`` does, in a fork of the server."""
    import torch

    for number, path in enumerate(streams, start=1):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.dup2(opened, number)
        os.close(opened)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    added = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [str(folder), *map(os.path.abspath, filter(None, added))]
    if threads := environment.get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(threads))  # torch has read the server's variable
    sys.argv = ["bench", *words]
    runpy.run_module("bench", run_name="__main__", alter_sys=True)
