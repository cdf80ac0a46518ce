"""Claims hold among processes that share a folder, without locks of the operating system."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bench import leases
from bench.leases import LeaseLostError, Leases

HOLDER = """
import sys, time
from pathlib import Path
from bench.leases import Leases
lease = Leases(Path(sys.argv[1]), stale_seconds=float(sys.argv[2])).acquire("job", "a job")
assert lease is not None
print("held", flush=True)
while not lease.lost:
    time.sleep(0.02)
lease.release()
print("lost", flush=True)
"""
STALE = 0.9


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lease `job` in the test's folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path), str(STALE)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def wait_for(contender: Leases, seconds: float = 20.0) -> leases.Lease:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if lease := contender.acquire("job", "a job"):
            return lease
        time.sleep(0.02)
    raise AssertionError("never acquired")


def test_one_holds_until_it_releases(tmp_path: Path) -> None:
    one, other = Leases(tmp_path), Leases(tmp_path)
    lease = one.acquire("job", "lora on Style_A", plan="p")
    assert lease is not None
    assert other.acquire("job", "x") is None
    assert one.acquire("job", "x") is None, "nor a second time in the same process"
    (owner,) = other.owners()
    assert (owner.title, owner.plan, owner.pid) == ("lora on Style_A", "p", os.getpid())
    assert owner.host == socket.gethostname()
    lease.release()
    assert not list(tmp_path.iterdir())
    again = other.acquire("job", "x")
    assert again is not None
    assert again.predecessor is None
    again.release()


def test_operating_system_locks_play_no_part(
    tmp_path: Path, holder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`flock` and `lockf` that always succeed, as on Lustre with localflock."""

    def succeed(*_: object) -> None:
        return None

    monkeypatch.setattr(fcntl, "flock", succeed)
    monkeypatch.setattr(fcntl, "lockf", succeed)
    contender = Leases(tmp_path)
    end = time.monotonic() + 2 * STALE
    while time.monotonic() < end:
        assert contender.acquire("job", "a job") is None
        time.sleep(0.02)


def test_a_killed_process_of_this_machine_is_replaced_at_once(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    contender = Leases(tmp_path)
    assert contender.acquire("job", "a job") is None
    holder.kill()
    holder.wait()
    lease = contender.acquire("job", "a job")
    assert lease is not None
    assert lease.predecessor is not None
    assert lease.predecessor.pid == holder.pid
    lease.release()


def test_a_process_of_the_same_number_is_another(tmp_path: Path) -> None:
    """After a restart, the process with the holder's number is not the holder."""
    lease = Leases(tmp_path).acquire("job", "a job")
    assert lease is not None
    started = lease.owner.started
    content = (tmp_path / "job.lease").read_bytes()
    (tmp_path / "job.lease").write_bytes(content.replace(started.encode(), b"1"))
    taken = Leases(tmp_path).acquire("job", "a job")
    assert taken is not None
    assert lease.lost
    lease.release()
    taken.release()


@pytest.mark.parametrize("minutes", [-7, 0, 9])
def test_a_dead_machine_loses_its_lease_whatever_its_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minutes: int
) -> None:
    """Only what the contender sees on its own monotonic clock counts."""
    _freeze_elsewhere(tmp_path, monkeypatch, timedelta(minutes=minutes))
    contender = Leases(tmp_path, stale_seconds=STALE)
    start = time.monotonic()
    lease = wait_for(contender)
    assert time.monotonic() - start >= STALE
    assert lease.predecessor is not None
    assert lease.predecessor.host == "elsewhere"
    lease.release()


@pytest.mark.parametrize("minutes", [-7, 9])
def test_a_living_machine_keeps_its_lease_whatever_its_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minutes: int
) -> None:
    with monkeypatch.context() as patch:
        _pretend_elsewhere(patch, timedelta(minutes=minutes))
        lease = Leases(tmp_path, stale_seconds=STALE).acquire("job", "a job")
    assert lease is not None
    contender = Leases(tmp_path, stale_seconds=STALE)
    end = time.monotonic() + 3 * STALE
    while time.monotonic() < end:
        assert contender.acquire("job", "a job") is None
        time.sleep(0.02)
    lease.release()


def test_a_stalled_holder_learns_that_it_was_replaced(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    """SIGSTOP, as a node that hangs; then it comes back, and leaves the successor alone."""
    contender = Leases(tmp_path, stale_seconds=STALE)
    assert contender.acquire("job", "a job") is None
    holder.send_signal(signal.SIGSTOP)
    lease = wait_for(contender)
    holder.send_signal(signal.SIGCONT)
    assert holder.wait(20) == 0
    assert holder.stdout is not None
    assert holder.stdout.read() == "lost\n"
    assert not lease.lost
    time.sleep(STALE)
    assert Leases(tmp_path).acquire("job", "x") is None, "the stalled one removed nothing"
    lease.check()
    lease.release()
    with pytest.raises(LeaseLostError, match="a job"):
        lease.check()


def test_many_contenders_one_successor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All see the same dead holder; at every moment one has the lease."""
    _freeze_elsewhere(tmp_path, monkeypatch, timedelta())
    contender = """
import sys, time
from pathlib import Path
from bench.leases import Leases
folder = Path(sys.argv[1])
leases = Leases(folder, stale_seconds=0.9)
for _ in range(12):
    while (lease := leases.acquire("job", "x")) is None:
        time.sleep(0.001)
    (folder / "inside").touch(exist_ok=False)
    time.sleep(0.002)
    (folder / "inside").unlink()
    lease.release()
"""
    processes = [
        subprocess.Popen([sys.executable, "-c", contender, str(tmp_path)]) for _ in range(4)
    ]
    assert [process.wait(60) for process in processes] == [0, 0, 0, 0]
    assert not list(tmp_path.glob("*lease*"))


def test_a_damaged_lease_is_replaced_after_a_while(tmp_path: Path) -> None:
    """As a machine leaves it that dies between creating and writing it."""
    (tmp_path / "job.lease").touch()
    contender = Leases(tmp_path, stale_seconds=0.3)
    assert contender.acquire("job", "a job") is None
    assert not list(contender.owners())
    lease = wait_for(contender)
    assert lease.predecessor is None
    lease.release()


def _pretend_elsewhere(patch: pytest.MonkeyPatch, ahead: timedelta) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = UTC) -> Any:
            return datetime.now(tz) + ahead

    patch.setattr(leases, "_machine", lambda: "another machine")
    patch.setattr(socket, "gethostname", lambda: "elsewhere")
    patch.setattr(leases, "datetime", Clock)
    patch.setattr(time, "time", lambda: datetime.now(UTC).timestamp() + ahead.total_seconds())


def _freeze_elsewhere(folder: Path, patch: pytest.MonkeyPatch, ahead: timedelta) -> None:
    """The lease of a machine that is no more."""
    with patch.context() as context:
        _pretend_elsewhere(context, ahead)
        lease = Leases(folder, stale_seconds=STALE).acquire("job", "a job")
    assert lease is not None
    content = (folder / "job.lease").read_bytes()
    lease.release()
    path = folder / "job.lease"
    path.write_bytes(content)
    then = (datetime.now(UTC) + ahead).timestamp()
    os.utime(path, (then, then))
