"""A site is replaced as a whole, whatever ends a report."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bench.leases import Leases
from leaderboard.build.atomic_folder import replacing

KILLED = """
import os, pathlib, sys
from leaderboard.build.atomic_folder import replacing
out, between = pathlib.Path(sys.argv[1]), sys.argv[2] == "between"
rename = pathlib.Path.replace
def dying(self, target):
    rename(self, target)
    os.kill(os.getpid(), 9)
if between:
    pathlib.Path.replace = dying
with replacing(out) as folder:
    (folder / "index.html").write_text("half a page")
    if not between:
        os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("when", ["writing", "between"])
def test_the_next_report_clears_up_after_a_killed_one(tmp_path: Path, when: str) -> None:
    """Killed while it wrote, or between the two renames: the old site is there, nothing else."""
    out = tmp_path / "site"
    with replacing(out) as folder:
        (folder / "index.html").write_text("old")
    ended = subprocess.run([sys.executable, "-c", KILLED, str(out), when], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob(".site.*"))) == 1
    with pytest.raises(ZeroDivisionError), replacing(out):
        assert (out / "index.html").read_text() == "old"
        raise ZeroDivisionError
    assert [p.name for p in tmp_path.iterdir()] == ["site"]
    assert (out / "index.html").read_text() == "old"


def test_an_interrupt_between_the_renames_gives_the_old_site_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "site"
    with replacing(out) as folder:
        (folder / "index.html").write_text("old")
    rename = Path.replace

    def interrupted(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt), replacing(out) as folder:
        (folder / "index.html").write_text("new")
    assert (out / "index.html").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["site"]


def test_a_report_at_work_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the file system knows no `flock`."""
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    out = tmp_path / "site"
    with replacing(out) as slow:
        (slow / "index.html").write_text("slow")
        with replacing(out) as quick:
            (quick / "index.html").write_text("quick")
        assert (out / "index.html").read_text() == "quick"
        assert (slow / "index.html").read_text() == "slow"
    assert (out / "index.html").read_text() == "slow"
    assert [p.name for p in tmp_path.iterdir()] == ["site"]


@pytest.mark.parametrize(("hours", "left"), [(0.1, True), (2, False)])
def test_a_report_that_died_on_another_machine_is_cleared_up_in_time(
    tmp_path: Path, hours: float, left: bool
) -> None:
    """It had moved the old site away: this comes back."""
    desk = tmp_path / ".site.report-x"
    (desk / "old").mkdir(parents=True)
    lease = Leases(desk).acquire("report", "the report")
    assert lease is not None
    owner = replace(lease.owner, machine="elsewhere", token="other")
    path = desk / "report.lease"
    lease.release()
    path.write_text(json.dumps(asdict(owner)) + "\n")
    then = time.time() - 3600 * hours
    os.utime(path, (then, then))
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "site"):
        raise ZeroDivisionError
    assert desk.exists() == left
    assert (tmp_path / "site").exists() != left
