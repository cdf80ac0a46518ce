"""Leases: claims of work that hold among all processes, on all machines, that share a folder.

A lease is a file made by exclusive creation, which every shared file system keeps atomic; locks of
the operating system (`flock`) are not used, since on some of them they hold on one machine only.
Its holder changes it every few seconds. Whoever sees it unchanged for `STALE_SECONDS`, measured on
its own monotonic clock, takes it over, on whatever machine; clocks need not agree. A holder on this
machine whose process is gone is replaced at once.

A holder that was only stalled (a stopped process, a file server that hangs) may thus work beside
its successor for a while. It learns of it from `Lease.lost` and must then publish nothing more.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil

from bench.errors import BenchError

STALE_SECONDS = 60.0
"""A lease that is unchanged for so long may be taken over."""
_BEATS = 6
"""Changes in that time."""
_SUFFIX = ".lease"
_LONGEST = 10_000


class LeaseLostError(BenchError):
    """Another process has taken this one's work over."""


@dataclass(frozen=True, kw_only=True)
class Owner:
    """Who holds a lease, in the words that are written into its file."""

    token: str
    title: str
    """What it works on."""
    plan: str
    """Id of the plan that the work belongs to; empty for none."""
    host: str
    machine: str
    """Boot of the machine and namespace of process numbers, within which `pid` means something."""
    pid: int
    started: str
    """Tells the process from a later one of the same number."""
    since: str
    """UTC time in ISO format, by the holder's clock: for people, nothing is decided by it."""
    task: str
    """Task of a batch system, such as Slurm's ``123_4``; empty for none."""
    stale_seconds: float

    @property
    def where(self) -> str:
        """Process and machine in words."""
        task = f", Slurm task {self.task}" if self.task else ""
        return f"process {self.pid} on {self.host}{task}"

    @property
    def gone(self) -> bool:
        """Whether the process ran on this machine and runs no more."""
        return self.machine == _machine() and _started(self.pid) != self.started


class Lease:
    """A lease that is held: renewed by a thread until `release`."""

    def __init__(
        self, path: Path, owner: Owner, descriptor: int, predecessor: Owner | None
    ) -> None:
        self.owner = owner
        self.predecessor = predecessor
        """Holder that died or stalled, and that this lease was taken over from."""
        self._path, self._descriptor = path, descriptor
        self._head = _head(owner)
        self._stop = threading.Event()
        os.write(descriptor, self._head + _beat(0))
        self._thread = threading.Thread(target=self._renew, name="bench-lease", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> bool:
        """Whether another process has taken the lease over."""
        content = _read(self._path)
        return content is None or not content.startswith(self._head)

    def check(self) -> None:
        """Raise `LeaseLostError` if another process has taken the lease over."""
        if self.lost:
            raise LeaseLostError(
                f"Another process has taken over the work on {self.owner.title}, since this one "
                "showed no sign of life; what that one records counts."
            )

    def release(self) -> None:
        """Give the lease back; nothing happens if it has been lost."""
        self._stop.set()
        self._thread.join()
        with suppress(OSError):
            os.close(self._descriptor)
        with suppress(OSError):
            if not self.lost:
                _remove(self._path, self._head)

    def _renew(self) -> None:
        number = 0
        while not self._stop.wait(self.owner.stale_seconds / _BEATS):
            number += 1
            # By the descriptor: a successor's file of the same name is never touched
            with suppress(OSError):
                os.pwrite(self._descriptor, _beat(number), len(self._head))
                os.fsync(self._descriptor)


class Leases:
    """The leases in one folder, as one process sees them."""

    def __init__(self, folder: Path, *, stale_seconds: float | None = None) -> None:
        self._folder = folder
        self._stale_seconds = stale_seconds or float(
            os.environ.get("BENCH_STALE_SECONDS", STALE_SECONDS)
        )
        self._seen: dict[Path, tuple[bytes, float]] = {}

    def acquire(self, name: str, title: str, *, plan: str = "") -> Lease | None:
        """The lease of that name; None if another process holds it. Raises `OSError`.

        A process that wants a lease asks again and again, with the same object: from what it has
        seen before it knows how long a lease is unchanged.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{name}{_SUFFIX}"
        if lease := self._create(path, title, plan, None):
            return lease
        content = _read(path)
        if content is None or not self._is_stale(path, content):
            return None
        if not _remove(path, content):
            return None
        return self._create(path, title, plan, _parse(content))

    def owners(self) -> Iterator[Owner]:
        """Holders of all leases of the folder, dead ones included."""
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            content = _read(path)
            if content and (owner := _parse(content)):
                yield owner

    def _create(self, path: Path, title: str, plan: str, predecessor: Owner | None) -> Lease | None:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            return None
        self._seen.pop(path, None)
        owner = Owner(
            token=uuid4().hex,
            title=title,
            plan=plan,
            host=socket.gethostname(),
            machine=_machine(),
            pid=os.getpid(),
            started=_started(os.getpid()) or "",
            since=datetime.now(UTC).isoformat(timespec="seconds"),
            task=_task(),
            stale_seconds=self._stale_seconds,
        )
        return Lease(path, owner, descriptor, predecessor)

    def _is_stale(self, path: Path, content: bytes) -> bool:
        owner, now = _parse(content), time.monotonic()
        if owner is not None and owner.gone:
            return True
        seen = self._seen.get(path)
        if seen is None or seen[0] != content:
            self._seen[path] = (content, now)
            return False
        return now - seen[1] >= (owner.stale_seconds if owner else self._stale_seconds)


def _remove(path: Path, expected: bytes) -> bool:
    """Remove a lease file if it begins with the expected content; returns whether it did.

    It is renamed first, so that of several processes one has it. A file that turns out to be
    another's is put back.
    """
    aside = path.with_name(f"{path.name}.{uuid4().hex[:8]}")
    try:
        path.rename(aside)
    except FileNotFoundError:
        return False
    try:
        content = _read(aside)
        if content is not None and content.startswith(expected):
            return True
        with suppress(OSError):  # somebody has claimed it in this moment: the work is done twice
            os.link(aside, path)
        return False
    finally:
        aside.unlink(missing_ok=True)


def _head(owner: Owner) -> bytes:
    return json.dumps(asdict(owner)).encode() + b"\n"


def _beat(number: int) -> bytes:
    return b"%012d\n" % number


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(_LONGEST)
    except FileNotFoundError:
        return None


def _parse(content: bytes) -> Owner | None:
    """The owner in a lease file; None where it is not (yet) written or damaged."""
    try:
        facts: dict[str, Any] = json.loads(content.split(b"\n")[0])
        return Owner(**facts)
    except (ValueError, TypeError):
        return None


@cache
def _machine() -> str:
    facts = [socket.gethostname()]
    with suppress(OSError):
        facts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        facts.append(str(Path("/proc/self/ns/pid").stat().st_ino))
    return " ".join(facts)


def _started(pid: int) -> str | None:
    """When a process of this machine started, by a clock that is never set; None if it is gone."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        fields = stat.read_bytes().rpartition(b")")[2].split()
        return None if fields[0] in (b"Z", b"X") else fields[19].decode()
    except (OSError, IndexError):
        pass
    if Path("/proc/self/stat").exists():
        return None
    try:
        return str(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def _task() -> str:
    array, index = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{index}" if array and index else os.environ.get("SLURM_JOB_ID", "")
