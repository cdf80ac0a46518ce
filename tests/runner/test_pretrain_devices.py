"""Pretraining on several processes, for real: torchrun, gloo, signals; always the same weights."""

import shutil
import signal
import subprocess
import time
from contextlib import AbstractContextManager
from pathlib import Path

import packages
import psutil
import pytest
import torch
from commands import Command, fresh
from conftest import Bench, Inside
from homes import assert_same, copy, records

from bench.models.backbones import GROUP
from bench.records.record import Record
from bench.training import numerics

TRACK = """
name = "tiny-sharded"
version = 1
summary = "For tests: pretraining in four shards, whose last batches are uneven."
default_backbone = "inversionnet_quarter"
gallery = 1
[data]
source = "generated"
train = 4
pretraining_train = 5
test = 2
samples_per_file = 3
[pretrain]
epochs = 4
batch = 16
shards = 4
[fit]
epochs = 1
batch = 4
"""
EVERY_EPOCH = {"BENCH_CHECKPOINT_SHARE": "1e9"}
Started = subprocess.Popen[str] | Command


@pytest.fixture(scope="module")
def track(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("track") / "sharded.toml"
    path.write_text(TRACK, encoding="utf-8")
    return path


def words(track: Path, *more: object) -> tuple[str, ...]:
    run = ("run", "-m", "none", "-p", "pretrain", "--device", "cpu", "--quiet", "-t")
    return tuple(map(str, (*run, track, *more)))


@pytest.fixture(scope="module")
def alone(bench: Bench, track: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose foundation one process has pretrained, shard after shard."""
    home = tmp_path_factory.mktemp("alone")
    done = bench(*words(track), home=home, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    return home


@pytest.fixture
def home(alone: Path, tmp_path: Path) -> Path:
    """Another home with the same data, and no foundation."""
    copy(alone, tmp_path, "data", "runs")
    return tmp_path


def foundation(home: Path) -> Record:
    (record,) = records(home, "foundation").values()
    return record


def on_devices(devices: int, home: Path, track: Path) -> Command:
    """`bench run --pretrain-devices` in the background."""
    command = words(track, "--pretrain-devices", devices)
    return Command(*command, home=home, OMP_NUM_THREADS="1", **EVERY_EPOCH)


def torchrun(
    processes: int, home: Path, *more: str, threads: int = 1
) -> AbstractContextManager[subprocess.Popen[str]]:
    """A module in the background, in several processes that torchrun starts."""
    command = ("torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", *more)
    environment = EVERY_EPOCH | {"BENCH_HOME": str(home), "OMP_NUM_THREADS": str(threads)}
    return fresh(*command, **environment)


def ranks(process: Started, word: str) -> list[psutil.Process]:
    """The processes that train, below the one that was started."""
    below = psutil.Process(process.pid).children(recursive=True)
    return [p for p in below if word in p.cmdline() and "--standalone" not in p.cmdline()]


def wait_for_checkpoint(home: Path, process: Started) -> None:
    while not list(home.glob("foundations/*/unfinished/checkpoint.pt")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("processes", [1, 2, 4])
def test_torchrun_of_any_width_gives_the_same_bits(
    processes: int, alone: Path, home: Path, track: Path
) -> None:
    threads = 2 if processes == 1 else 1  # what is left to one process must not matter
    with torchrun(processes, home, "-m", "bench", *words(track), threads=threads) as process:
        said, problem = process.communicate(timeout=1200)
    assert process.returncode == 0, problem
    assert said.count("foundation on 6 datasets, seed 0: MAE") == 1, "one process speaks for all"
    assert_same(home, alone, "foundation")
    assert foundation(home).facts == {"processes": processes, "shards": 4}
    assert foundation(home).execution.determinism == foundation(alone).execution.determinism


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("which", ["leader", "another"])
def test_a_killed_process_is_replaced_and_the_end_is_the_same(
    which: str, alone: Path, home: Path, track: Path
) -> None:
    with on_devices(2, home, track) as process:
        wait_for_checkpoint(home, process)
        found = ranks(process, "bench.runner.pretraining_process")
        by_rank = {p.environ()["RANK"]: p for p in found}
        assert sorted(by_rank) == ["0", "1"]
        by_rank["0" if which == "leader" else "1"].kill()
        said, problem = process.communicate(timeout=1200)
    assert process.returncode == 0, problem
    assert "Going on with foundation on 6 datasets" in said
    assert_same(home, alone, "foundation")
    assert foundation(home).resumed == 1
    assert foundation(home).facts == {"processes": 2, "shards": 4}


@pytest.mark.slow
@pytest.mark.exhaustive
def test_torchrun_started_by_the_user_restarts_a_killed_process(
    alone: Path, home: Path, track: Path
) -> None:
    command = ("--max-restarts=1", "-m", "bench", *words(track))
    with torchrun(2, home, *command) as process:
        wait_for_checkpoint(home, process)
        victim = next(p for p in ranks(process, "bench") if p.environ()["RANK"] == "1")
        victim.kill()
        said, problem = process.communicate(timeout=1200)
    assert process.returncode == 0, problem
    assert "Going on with foundation on 6 datasets" in said
    assert_same(home, alone, "foundation")


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_the_command_and_fewer_devices_go_on(
    number: signal.Signals, bench: Bench, alone: Path, home: Path, track: Path
) -> None:
    """Interrupted or killed on two devices, ended on one."""
    with on_devices(2, home, track) as process:
        wait_for_checkpoint(home, process)
        below = psutil.Process(process.pid).children(recursive=True)
        assert len(below) == 3, "torchrun and two processes"
        process.send_signal(number)
        said, problem = process.communicate(timeout=600)
        _, left = psutil.wait_procs(below, timeout=600)
        assert not left
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert "epochs are kept" in said
        assert "Traceback" not in problem
    last = bench(*words(track), home=home)
    assert last.returncode == 0, last.stderr
    assert "Going on with foundation on 6 datasets" in last.stdout
    assert_same(home, alone, "foundation")
    assert foundation(home).facts["processes"] == 1


TROUBLED = """
import os, signal
from bench.contract import Backbone
from bench.models.backbones.inversionnet import InversionNet

class Troubled(InversionNet):
    steps = 0
    def forward(self, x):
        if os.environ.get("RANK") == "1" and self.training:
            self.steps += 1
            if self.steps > 3:
                TROUBLE
        return super().forward(x)

backbone = Backbone(
    name="troubled", summary="Breaks.", source="none", build=lambda: Troubled(narrower=4)
)
"""
"""A backbone with which the second process comes to grief in its second step, every time."""


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("trouble", "sentence", "starts"),
    [
        ("raise ValueError('no luck at all')", "ValueError: no luck at all", 1),
        ("os.kill(os.getpid(), signal.SIGKILL)", "processes died, also after 3 restarts", 4),
    ],
)
def test_trouble_that_comes_again_ends_in_a_failed_record(
    trouble: str, sentence: str, starts: int, bench: Bench, home: Path, track: Path, tmp_path: Path
) -> None:
    """An error is told once, without a restart; deaths are given up after the last restart."""
    site = tmp_path / "site"
    site.mkdir()
    count = tmp_path / "starts"
    source = f"open({str(count)!r}, 'a').write(__import__('os').environ.get('RANK', '') + ' ')\n"
    source += TROUBLED.replace("TROUBLE", trouble)
    packages.install(site, "troubled", {"troubled": "backbone"}, source, group=GROUP)
    done = bench(
        *words(track, "--pretrain-devices", 2, "--backbone", "troubled"),
        home=home,
        PYTHONPATH=str(site),
        OMP_NUM_THREADS="1",
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert count.read_text().split().count("1") == starts
    record = foundation(home)
    assert (record.status, record.cells) == ("failed", ())
    assert sentence in str(record.error)
    assert sentence in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--pretrain-devices", 3), "cuts its pretraining batch into 4 shards, which 3 devices"),
        (("--pretrain-devices", 8), "use one of 1, 2, 4."),
        (("-t", "smoke", "--pretrain-devices", 2), "does not cut its pretraining batch"),
    ],
)
def test_devices_that_cannot_share_the_shards_are_refused(
    more: tuple[object, ...], sentence: str, inside: Inside, track: Path, tmp_path: Path
) -> None:
    code, said, problem = inside(*words(track, *more), home=tmp_path)
    assert (code, said) == (2, "")
    assert sentence in problem
    assert len(problem.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_width_other_than_that_of_the_group_is_refused(
    inside: Inside, track: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "RANK": "0",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "a",
        "MASTER_PORT": "1",
    }.items():
        monkeypatch.setenv(name, value)
    code, _, problem = inside(*words(track, "--pretrain-devices", 4), home=tmp_path)
    assert code == 2
    assert "one of 2 that were started together" in problem


def test_more_devices_than_gpus_are_refused(
    inside: Inside, track: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(
        numerics, "choose", lambda *_, **__: numerics.Numerics(device=there, bfloat16=True)
    )
    code, _, problem = inside(*words(track, "--pretrain-devices", 2), home=tmp_path)
    assert code == 2
    assert "Pretraining on 2 devices was asked for, but torch finds 1 GPUs" in problem


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_gpus_of_one_kind_give_the_same_bits(bench: Bench, home: Path, track: Path) -> None:
    """One GPU twice; two, where there are two. Deterministic kernels are all that this needs."""
    cuda = ("run", "-m", "none", "-p", "pretrain", "--device", "cuda", "--quiet", "-t", str(track))
    hashes = set()
    for devices in (1, min(2, torch.cuda.device_count())):
        shutil.rmtree(home / "foundations", ignore_errors=True)
        done = bench(*cuda, "--pretrain-devices", str(devices), home=home)
        assert done.returncode == 0, done.stderr
        counts = foundation(home).counts
        assert counts is not None
        hashes.add(counts.adapter_sha256)
    assert len(hashes) == 1
