"""`bench run --workers`: real worker processes, killed, poisoned and interrupted."""

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from commands import Command
from conftest import Bench, Inside
from homes import assert_same, copy, records
from packages import install

from bench.errors import ConfigError
from bench.leases import Owner
from bench.runner.worker_resources import shares
from bench.runner.workspace import Workspace

SUICIDAL = """
import os, signal
from bench.contract import Adapted, Method, ParameterGroup, Traits

def adapt(model, config):
    groups = (ParameterGroup(name="all", parameters=tuple(model.parameters())),)
    def kill():
        os.kill(os.getpid(), signal.SIGKILL)
    return Adapted(model=model, groups=groups, after_step=kill)

deadly = Method(
    name="deadly", summary="s", source="s", adapt=adapt,
    traits=Traits(category="full", batchnorm="both", start="scratch"),
)
"""


def at_work(home: Path, process: Command, wanted: Callable[[Owner], bool]) -> Owner:
    """The first holder of a claim who is wanted."""
    leases = Workspace(home).leases
    while True:
        assert process.poll() is None, process.communicate()
        if owner := next(filter(wanted, leases.owners()), None):
            return owner
        time.sleep(0.001)


@pytest.mark.exhaustive
def test_four_workers_one_of_them_killed_equal_one_process(
    serial: Path, many_jobs: tuple[str, ...], bench: Bench, tmp_path: Path
) -> None:
    copy(serial, tmp_path, "data")
    with Command(*many_jobs, "--workers", "4", home=tmp_path) as process:
        victim = at_work(tmp_path, process, lambda owner: "lora on" in owner.title)
        told = bench("status", home=tmp_path)
        os.kill(victim.pid, signal.SIGKILL)
        said, problem = process.communicate(timeout=1200)
    assert process.returncode == 0, problem
    assert re.search(rf"Worker \d \(process {victim.pid}\) was killed \(SIGKILL\)", said)
    assert_same(tmp_path, serial)
    assert "33 jobs:" in told.stdout
    assert re.search(r"process \d+ on ", told.stdout)
    after = bench("status", home=tmp_path).stdout
    assert "33 jobs: 33 done, 0 failed, 0 at work, 0 waiting." in after


@pytest.mark.exhaustive
def test_a_fit_that_kills_two_workers_is_recorded_and_the_others_go_on(
    serial: Path, bench: Bench, tiny_track: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    copy(serial, home, "data", "foundations", "runs")
    site = tmp_path / "site-packages"
    site.mkdir()
    install(site, "suicidal", {"deadly": "deadly"}, SUICIDAL)
    path = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))
    words = ("run", "-m", "deadly,lora", "-p", "id", "--track", str(tiny_track))
    done = bench(*words, "--workers", "2", home=home, PYTHONPATH=path)
    assert done.returncode == 1, done.stderr
    found = list(records(home, "deadly").values())
    assert [r.status for r in found] == ["failed"] * 4
    for record in found:
        assert "Processes died at work on it without a word" in (record.error or "")
        assert len(re.findall(r"process \d+ on ", record.error or "")) == 2
    assert done.stdout.count("was killed (SIGKILL)") == 8, "two for each fit"
    assert [r.status for r in records(home, "lora").values()] == ["done"] * 4
    assert not list(home.glob("runs/*/deaths.json"))


@pytest.mark.exhaustive
def test_ctrl_c_ends_all_within_seconds(
    serial: Path, many_jobs: tuple[str, ...], tmp_path: Path
) -> None:
    copy(serial, tmp_path, "data", "foundations")
    with Command(*many_jobs, "--workers", "2", home=tmp_path) as process:
        first = at_work(tmp_path, process, lambda owner: "fft on" in owner.title)
        process.send_signal(signal.SIGINT)
        _, problem = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "go on with the same command" in problem
    assert not Path(f"/proc/{first.pid}").exists()
    left = Workspace(tmp_path).leases.owners()
    assert all(owner.gone for owner in left), "no claim keeps anybody waiting"


def test_workers_end_with_the_command_that_started_them(
    ran: tuple[Path, object], many_jobs: tuple[str, ...], tmp_path: Path
) -> None:
    copy(ran[0], tmp_path, "data", "foundations")
    with Command(*many_jobs, "--workers", "2", home=tmp_path) as process:
        first = at_work(tmp_path, process, lambda owner: "fft on" in owner.title)
        process.kill()
        process.communicate(timeout=30)
    end = time.monotonic() + 30
    while Path(f"/proc/{first.pid}").exists():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--workers", "many"), "write a number from 1 on, auto or gpus"),
        (("--workers", "0"), "write a number from 1 on, auto or gpus"),
        (("--workers", "2", "--device", "cuda:0"), "is one GPU; with --workers use --device cuda"),
        (("--slurm", "partition=main"), "--slurm needs the number of tasks"),
    ],
)
def test_bad_input_gets_a_sentence_before_anything_starts(
    words: tuple[str, ...], sentence: str, inside: Inside, tmp_path: Path
) -> None:
    code, _, problem = inside("run", "-m", "fft", *words, home=tmp_path / "home")
    assert code == 2
    assert sentence in problem
    assert len(problem.strip().splitlines()) == 1
    assert not (tmp_path / "home").exists()


def test_one_gpu_a_worker_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(12)), raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    two = shares("2", "auto")
    assert [share.environment["CUDA_VISIBLE_DEVICES"] for share in two] == ["0", "1"]
    assert {share.environment["OMP_NUM_THREADS"] for share in two} == {"6"}
    assert len(shares("gpus", "auto")) == len(shares("auto", "cuda")) == 3
    with pytest.raises(ConfigError, match="more than the 3 GPUs here"):
        shares("4", "auto")
    assert len(shares("4", "cpu")) == 4
    assert all("CUDA_VISIBLE_DEVICES" not in share.environment for share in shares("4", "cpu"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7,6")
    assert [s.environment["CUDA_VISIBLE_DEVICES"] for s in shares("gpus", "cuda")] == list("576")


def test_cores_are_shared_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert {s.environment["OMP_NUM_THREADS"] for s in shares("3", "auto")} == {"2"}
    assert len(shares("auto", "auto")) == 8
    with pytest.raises(ConfigError, match="no CUDA GPU"):
        shares("gpus", "auto")
