"""Two commands on one home whose file system knows no `flock`, as if on two machines: a stalled one
loses its work to the other and comes back, and every record is there, whole, with the same numbers.
"""

import os
import signal
import subprocess
import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from commands import fresh
from homes import assert_same, copy, records, remove_runs
from test_survival import words

NO_LOCKS = """
import fcntl
fcntl.flock = fcntl.lockf = lambda *_: None
"""
OTHER_CLOCK = """
import time
_true = time.time
time.time = lambda: _true() + 400
"""
"""Of a machine whose clock is minutes ahead."""

Ran = tuple[Path, subprocess.CompletedProcess[str]]


def machine(folder: Path, name: str, source: str) -> str:
    """The PYTHONPATH of a process for which this source runs before all else."""
    site = folder / name
    site.mkdir()
    (site / "sitecustomize.py").write_text(source, encoding="utf-8")
    return os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))


def started(
    home: Path, path: str, *arguments: str
) -> AbstractContextManager[subprocess.Popen[str]]:
    """The command on a machine, with a checkpoint after every epoch; it is stalled after 3 s."""
    environment = {"BENCH_HOME": str(home), "PYTHONPATH": path}
    environment |= {"BENCH_CHECKPOINT_SHARE": "1e9", "BENCH_STALE_SECONDS": "3"}
    return fresh("bench", *arguments, **environment)


@pytest.mark.exhaustive
def test_a_stalled_fit_and_stalled_data_are_taken_over(
    ran: Ran, tiny_track: Path, tmp_path: Path
) -> None:
    home, tools = tmp_path / "home", tmp_path / "tools"
    home.mkdir()
    tools.mkdir()
    done, _ = ran
    copy(done, home, "data", "foundations", "runs")
    remove_runs(home, "FlatVel_B", "Style_A")
    one = machine(tools, "one", NO_LOCKS)
    two = machine(tools, "two", NO_LOCKS + OTHER_CLOCK)
    command = words(tiny_track)
    with started(home, one, *command) as stalled:
        while not list(home.glob("runs/*/unfinished/checkpoint.pt")):
            assert stalled.poll() is None, stalled.communicate()
            time.sleep(0.001)
        stalled.send_signal(signal.SIGSTOP)
        with started(home, two, *command) as other:
            said, problem = other.communicate(timeout=1200)
        assert other.returncode == 0, problem
        stalled.send_signal(signal.SIGCONT)
        _, problem = stalled.communicate(timeout=1200)
        assert stalled.returncode == 0, problem
    for title in ("lora on FlatVel_B", "lora on Style_A"):
        assert f"{title}, seed 0: MAE" in said, "done by the one that went on"
    assert_same(home, done, "lora", "foundation")
    assert len(records(home)) == len(records(done))
    assert not list(home.glob("claims/*"))
