"""`bench run --slurm` on a real Slurm: killed, requeued, out of time, and the same records."""

import itertools
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Bench
from homes import assert_same, copy, records
from slurm_cluster import cluster

from bench.errors import ConfigError
from bench.leases import Owner
from bench.runner import slurm as scheduler
from bench.runner.workspace import Workspace

JOBS, KILLS = 33, 20
SECONDS = 900

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a running cluster."""
    with cluster(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


@pytest.mark.exhaustive
def test_twenty_kills_lose_nothing(
    slurm: dict[str, str],
    serial: Path,
    many_jobs: tuple[str, ...],
    bench: Bench,
    tmp_path: Path,
) -> None:
    """33 jobs, four workers, two minutes for each task; every fit is hit at most once, since one at
    which two workers die is given up."""
    copy(serial, tmp_path, "data")
    environment = slurm | {"OMP_NUM_THREADS": "1", "BENCH_CHECKPOINT_SHARE": "1e9"}
    options = "partition=main,time=2,gres=gpu:1,signal-delay=10"
    done = bench(*many_jobs, "--slurm", options, "--workers", "4", home=tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    assert "4 workers for 33 jobs" in done.stdout
    first, array = _submitted(done.stdout)
    assert f"afterok:{first}" in _ask(environment, "scontrol", "show", "job", array)
    assert "gres" in _ask(environment, "scontrol", "show", "job", first).lower()
    hit: set[str] = set()
    ways = itertools.cycle((_kill, _requeue, _cancel, _warn))
    end = time.monotonic() + SECONDS
    while len(hit) < KILLS and (victim := _victim(tmp_path, hit, end)):
        next(ways)(victim, environment)
        hit.add(victim.title)
    while len(records(tmp_path)) < JOBS or _ask(environment, "squeue", "--noheader"):
        assert time.monotonic() < end, _logs(tmp_path)
        time.sleep(1.0)
    assert len(hit) == KILLS, _logs(tmp_path)
    said = bench("status", home=tmp_path).stdout
    assert "33 jobs: 33 done, 0 failed, 0 at work, 0 waiting." in said
    assert_same(tmp_path, serial)
    assert "Requeues task" in _logs(tmp_path)


@pytest.mark.exhaustive
def test_a_fit_longer_than_the_time_limit_goes_on_from_its_checkpoint(
    slurm: dict[str, str], serial: Path, bench: Bench, tiny_track: Path, tmp_path: Path
) -> None:
    """A minute a task, for a fit of hours: the second task takes up where the first has stopped."""
    copy(serial, tmp_path, "data")
    track = tmp_path / "long.toml"
    few = tiny_track.read_text(encoding="utf-8")
    track.write_text(few.replace("epochs = 2", "epochs = 1_000_000"), encoding="utf-8")
    environment = slurm | {"OMP_NUM_THREADS": "1", "BENCH_CHECKPOINT_SHARE": "1e-9"}
    options = ("--slurm", "time=1,gres=gpu:1,signal-delay=15", "--workers", "1")
    words = ("run", "-m", "fft", "-p", "id", "--track", str(track), *options)
    done = bench(*words, home=tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    end = time.monotonic() + SECONDS
    while "Going on with fft on " not in _logs(tmp_path):
        assert time.monotonic() < end, _logs(tmp_path)
        time.sleep(1.0)
    assert "Requeues task" in _logs(tmp_path)
    _ask(environment, "scancel", *_submitted(done.stdout))


@pytest.mark.exhaustive
def test_bad_input_gets_a_sentence(
    slurm: dict[str, str], bench: Bench, tiny_track: Path, tmp_path: Path
) -> None:
    words = ("run", "-m", "fft", "--track", str(tiny_track), "--workers", "2", "--slurm")
    cases = {
        "partiton=main": "Unknown option of sbatch 'partiton'. Did you mean 'partition'?",
        "array=1-3": "the harness sets this option of sbatch itself",
        "main": "write options of sbatch, such as partition=gpu",
        "partition=nowhere": "Invalid partition name",
    }
    for options, sentence in cases.items():
        done = bench(*words, options, home=tmp_path / "home", **slurm)
        assert done.returncode == 2, done.stdout
        assert sentence in done.stderr
        lines = done.stderr.strip().splitlines()
        ours = [line for line in lines if not line.startswith("sbatch:")]
        assert len(ours) == 1
        assert ours[0].startswith("Error: ")
    assert not _ask(slurm, "squeue", "--noheader")


def test_without_slurm_a_sentence_says_so(bench: Bench, tiny_track: Path, tmp_path: Path) -> None:
    words = ("run", "-m", "fft", "--track", str(tiny_track), "--workers", "2")
    done = bench(*words, "--slurm", "partition=main", home=tmp_path / "home", PATH="/nowhere")
    assert done.returncode == 2
    assert "there is no sbatch on this machine" in done.stderr


@pytest.mark.parametrize(
    ("kind", "nodes", "exported", "refused"),
    [
        ("ext4", "gpu1 gpu2", False, True),
        ("tmpfs", "gpu1", False, True),
        ("ext4", "gpu1", True, False),
        ("ext4", socket.gethostname(), False, False),
        ("nfs4", "gpu1", False, False),
        ("lustre", "gpu1", False, False),
    ],
)
def test_a_home_that_others_cannot_see(
    kind: str,
    nodes: str,
    exported: bool,
    refused: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An invented `sinfo` names the cluster's machines."""
    sinfo = tmp_path / "sinfo"
    sinfo.write_text(f"#!/bin/sh\nfor node in {nodes}; do echo $node; done\n", encoding="utf-8")
    sinfo.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(scheduler, "_file_system", lambda _: kind)
    if exported:
        monkeypatch.setenv("BENCH_SHARED_HOME", "1")
    if not refused:
        scheduler.check_home(tmp_path)
        return
    with pytest.raises(ConfigError, match="which gpu1 and the other machines"):
        scheduler.check_home(tmp_path)


def test_a_home_without_the_plan_is_not_shared(bench: Bench, tmp_path: Path) -> None:
    """What a worker on a compute node says if it sees another folder of the same name."""
    done = bench("work", "20261126-000000-abcdef", home=tmp_path)
    assert done.returncode == 2
    assert "must lie on a file system that all its machines share" in done.stderr


def _victim(home: Path, hit: set[str], end: float) -> Owner | None:
    """A worker at a fit that has not been hit yet; None when none is left."""
    while time.monotonic() < end:
        if len(records(home)) == JOBS:
            return None
        for owner in Workspace(home).leases.owners():
            fit = " on " in owner.title and "floor" not in owner.title
            if fit and owner.title not in hit and not owner.gone:
                return owner
        time.sleep(0.01)
    return None


def _kill(victim: Owner, environment: dict[str, str]) -> None:
    """As the kernel does when memory runs out."""
    os.kill(victim.pid, signal.SIGKILL)


def _requeue(victim: Owner, environment: dict[str, str]) -> None:
    _ask(environment, "scontrol", "requeue", victim.task)


def _cancel(victim: Owner, environment: dict[str, str]) -> None:
    """The whole task is killed, and given back by the administrator."""
    _ask(environment, "scancel", "--signal=KILL", victim.task)
    for _ in range(100):
        done = subprocess.run(
            ["scontrol", "requeue", victim.task], env=environment, capture_output=True, check=False
        )
        if done.returncode == 0:
            return
        time.sleep(0.2)


def _warn(victim: Owner, environment: dict[str, str]) -> None:
    """The signal that comes before a time limit or preemption."""
    _ask(environment, "scancel", "--signal=USR2", victim.task)


def _ask(environment: dict[str, str], *words: str) -> str:
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    return done.stdout


def _submitted(said: str) -> tuple[str, str]:
    words = said.partition("Submitted to Slurm as ")[2].partition(":")[0]
    first, _, array = words.partition(" and ")
    return first, array


def _logs(home: Path) -> str:
    return "\n".join(
        path.read_text(errors="replace")[-3000:] for path in home.glob("plans/*/slurm/*.out")
    )
