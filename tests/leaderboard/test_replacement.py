"""A site is replaced as a whole, whatever ends a report."""

import fcntl
import signal
import subprocess
import sys
from pathlib import Path

import pytest

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
