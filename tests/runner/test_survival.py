"""Killed, interrupted, out of disk, robbed of files, two at once: the numbers stay the same.

Everything happens for real: the command in processes of its own, signals, limits.
"""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from commands import Command
from conftest import Bench, Inside
from homes import assert_same, copy, records, remove_runs
from packages import install

from bench.records.record import write
from bench.runner.workspace import Workspace

Ran = tuple[Path, subprocess.CompletedProcess[str]]
Found = Callable[[], bool]


def words(track: Path, method: str = "lora", protocol: str = "ood") -> tuple[str, ...]:
    return ("run", "--method", method, "--protocol", protocol, "--track", str(track), "--quiet")


def started(home: Path, *arguments: str, **more: str) -> Command:
    """The command in the background, with a checkpoint after every epoch."""
    return Command(*arguments, home=home, **{"BENCH_CHECKPOINT_SHARE": "1e9"} | more)


def signal_when(
    seen: Found, number: signal.Signals, home: Path, *arguments: str
) -> tuple[str, str]:
    """Start the command, send the signal as soon as something is seen; what it said."""
    with started(home, *arguments) as process:
        while not seen():
            assert process.poll() is None, process.communicate()
            time.sleep(0.001)
        process.send_signal(number)
        return process.communicate(timeout=600)


def appears(home: Path, pattern: str) -> Found:
    return lambda: any(True for _ in home.glob(pattern))


@pytest.mark.exhaustive
def test_killed_again_and_again(ran: Ran, bench: Bench, tiny_track: Path, tmp_path: Path) -> None:
    """While simulating, pretraining, training and scoring; then the same command ends it."""
    home, _ = ran
    copy(home, tmp_path, "data", "runs")
    remove_runs(tmp_path, "FlatVel_B")
    (folder,) = tmp_path.glob("data/*/CurveFault_B")
    shutil.rmtree(folder)
    moments = {
        "simulating": "data/*/CurveFault_B/.*.part",
        "pretraining": "foundations/*/unfinished/checkpoint.pt",
        "training": "runs/*/unfinished/checkpoint.pt",
    }
    for pattern in moments.values():
        signal_when(appears(tmp_path, pattern), signal.SIGKILL, tmp_path, *words(tiny_track))
    (unfinished,) = tmp_path.glob("runs/*/unfinished")
    (unfinished.parent / ".delta.safetensors.killed").touch()  # as a kill while writing leaves it
    (unfinished / ".checkpoint.pt.killed").touch()
    trained = len(list(home.glob("runs/*/delta.safetensors")))

    def all_trained() -> bool:
        return len(list(tmp_path.glob("runs/*/delta.safetensors"))) == trained

    said, _ = signal_when(all_trained, signal.SIGKILL, tmp_path, *words(tiny_track))
    assert "Going on with lora on FlatVel_B" in said
    last = bench(*words(tiny_track), home=tmp_path)
    assert last.returncode == 0, last.stderr
    assert_same(tmp_path, home, "lora", "foundation")
    assert max(r.resumed for r in records(tmp_path, "lora").values()) >= 1


@pytest.mark.exhaustive
def test_ctrl_c_then_a_full_disk_then_the_end(
    ran: Ran, bench: Bench, tiny_track: Path, tmp_path: Path
) -> None:
    """Each says in a few words what is kept; the same command goes on where the last one stopped.

    A limit on the size of files stands for the full disk: no delta fits into it.
    """
    home, _ = ran
    copy(home, tmp_path, "data", "foundations", "runs")
    remove_runs(tmp_path, "FlatVel_B")
    with started(tmp_path, *words(tiny_track)) as process:
        while not list(tmp_path.glob("runs/*/unfinished/checkpoint.pt")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.001)
        process.send_signal(signal.SIGINT)
        said, problem = process.communicate(timeout=600)
        assert process.returncode == 130
    assert "1 of 2 epochs are kept" in said
    assert "Interrupted. What is finished is kept" in problem
    assert f"bench run --method lora --protocol ood --track {tiny_track}" in problem
    assert "Traceback" not in problem
    (record,) = (r for r in records(tmp_path, "lora").values() if r.status != "done")
    assert (record.status, record.cells, len(record.curve)) == ("interrupted", (), 1)

    full = subprocess.run(
        [sys.executable, "-m", "bench", *words(tiny_track)],
        env=os.environ | {"BENCH_HOME": str(tmp_path)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert full.returncode == 2
    assert "Going on with lora on FlatVel_B, seed 0 after epoch 1." in full.stdout
    assert full.stderr.startswith("Error: Cannot write ")
    assert len(full.stderr.strip().splitlines()) == 1
    assert "free space" in full.stderr
    assert sum(r.status == "done" for r in records(tmp_path, "lora").values()) == 3

    last = bench(*words(tiny_track), home=tmp_path)
    assert last.returncode == 0, last.stderr
    assert "after epoch 1." in last.stdout, "the full disk has cost nothing"
    assert_same(tmp_path, home, "lora", "foundation")


def test_killed_while_scoring_trains_nothing_again(
    ran: Ran, bench: Bench, tiny_track: Path, tmp_path: Path
) -> None:
    """The record of the training is there; the same command scores what is missing."""
    home, _ = ran
    copy(home, tmp_path, "data", "foundations", "runs")
    for run_id, record in records(tmp_path, "lora").items():
        folder = tmp_path / "runs" / run_id
        (folder / "record.json").unlink()
        (folder / "scores.parquet").unlink()
        write(record.model_copy(update={"evaluations": ()}), folder)
    weights = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/*.safetensors")}
    before = len(list(tmp_path.glob("runs/*/scores.parquet")))

    def scored() -> bool:
        return len(list(tmp_path.glob("runs/*/scores.parquet"))) > before

    signal_when(scored, signal.SIGKILL, tmp_path, *words(tiny_track))
    last = bench(*words(tiny_track), home=tmp_path)
    assert last.returncode == 0, last.stderr
    assert "train 0 fits" in last.stdout
    assert_same(tmp_path, home, "lora", "foundation")
    assert {p: p.stat().st_mtime_ns for p in tmp_path.glob("runs/*/*.safetensors")} == weights


def test_what_failed_in_scoring_is_not_trained_again(
    ran: Ran, inside: Inside, tiny_track: Path, tmp_path: Path
) -> None:
    """Two fits that failed in scoring, one after its last test set: no network is trained."""
    home, _ = ran
    copy(home, tmp_path, "data", "foundations", "runs")
    first, last = sorted(records(tmp_path, "lora"))[:2]
    for run_id, kept in ((first, ()), (last, records(tmp_path)[last].evaluations)):
        folder = tmp_path / "runs" / run_id
        failed = {"status": "failed", "error": "No memory.", "evaluations": kept}
        record = records(tmp_path)[run_id].model_copy(update=failed)
        (folder / "record.json").unlink()
        write(record, folder)
    weights = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/*.safetensors")}
    code, told, problem = inside(*words(tiny_track), home=tmp_path)
    assert code == 0, problem
    assert "train 0 fits" in told
    assert_same(tmp_path, home, "lora", "foundation")
    assert {p: p.stat().st_mtime_ns for p in tmp_path.glob("runs/*/*.safetensors")} == weights


@pytest.mark.exhaustive
def test_lost_files_are_made_again_and_a_finished_record_stays_until_then(
    ran: Ran, bench: Bench, tiny_track: Path, tmp_path: Path, inside: Inside
) -> None:
    """Weights, the foundation and a file of the data are lost, and the first try to make them again
    is ended by the batch system."""
    home, _ = ran
    copy(home, tmp_path, "data", "runs")
    code, told, _ = inside(*words(tiny_track), "--dry-run", home=tmp_path)
    assert code == 0
    assert "Nothing to do" in told, "all fits are there: no foundation is needed"
    lora = {r.spec.datasets[0]: run_id for run_id, r in records(home, "lora").items()}
    first, second = (tmp_path / "runs" / lora[name] for name in ("FlatVel_B", "Style_B"))
    (first / "delta.safetensors").unlink()
    (second / "delta.safetensors").unlink()
    next(tmp_path.glob("data/*/Style_A/data/data1.npy")).unlink()
    with started(tmp_path, *words(tiny_track)) as process:
        while not (first / "unfinished" / "checkpoint.pt").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.001)
        process.terminate()
        said, problem = process.communicate(timeout=600)
        assert process.returncode == 130
    assert "simulate 3 records, pretrain 1 foundation, train 2 fits" in said
    assert "go on with the same command" in problem
    assert {r.status for r in records(tmp_path, "lora").values()} == {"done"}
    done = bench(*words(tiny_track), home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert_same(tmp_path, home, "lora", "foundation")


def test_two_at_once_share_the_work(ran: Ran, tiny_track: Path, tmp_path: Path) -> None:
    home, _ = ran
    copy(home, tmp_path, "data", "runs")
    remove_runs(tmp_path, "FlatVel_B", "Style_A")
    (folder,) = tmp_path.glob("data/*/Style_A")
    shutil.rmtree(folder)
    twice = partial(started, tmp_path, *words(tiny_track), OMP_WAIT_POLICY="PASSIVE")
    with twice() as one, twice() as two:  # idle threads of one would keep the other off the cores
        said = [process.communicate(timeout=1200) for process in (one, two)]
        assert [one.returncode, two.returncode] == [0, 0], said
    together = "".join(out for out, _ in said)
    assert "Waiting for another process that makes Style_A" in together
    for title in ("lora on FlatVel_B", "lora on Style_A"):
        assert together.count(f"{title}, seed 0: MAE") == 1, "each is trained once"
    assert_same(tmp_path, home, "lora", "foundation")


FAILING = """
import torch
from bench.contract import Adapted, Method, ParameterGroup, Traits

def adapted(model, **more):
    last = list(model.parameters())[-1]
    return Adapted(model=model, groups=(ParameterGroup(name="last", parameters=(last,)),), **more)

def diverges(model, config):
    last = list(model.parameters())[-1]
    def spoil():
        with torch.no_grad():
            last.fill_(float("nan"))
    return adapted(model, after_step=spoil)

def greedy(model, config):
    return adapted(model, penalty=lambda: torch.zeros(10**15).sum())

def broken(model, config):
    raise ValueError("the plugin is wrong")

TRAITS = Traits(category="full", batchnorm="both")

def make(name, adapt):
    return Method(name=name, summary="s", source="s", traits=TRAITS, adapt=adapt)

methods = {m: make(m, globals()[m]) for m in ("diverges", "greedy", "broken")}
nan, memory, error = methods["diverges"], methods["greedy"], methods["broken"]
"""


@pytest.mark.exhaustive
def test_failures_are_recorded_and_the_others_go_on(
    ran: Ran, bench: Bench, tiny_track: Path, tmp_path: Path
) -> None:
    home, _ = ran
    copy(home, tmp_path, "data", "foundations", "runs")
    remove_runs(tmp_path, "Style_B")
    site = tmp_path / "site-packages"
    site.mkdir()
    targets = {"diverges": "nan", "greedy": "memory", "broken": "error"}
    install(site, "failing", targets, FAILING)
    path = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))
    chosen = words(tiny_track, "diverges,greedy,broken,lora", "id")
    done = bench(*chosen, home=tmp_path, PYTHONPATH=path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    expected = {
        "diverges": ("failed", "loss became nan"),
        "greedy": ("out_of_memory", "can't allocate memory"),
        "broken": ("failed", "ValueError: the plugin is wrong"),
    }
    for name, (status, reason) in expected.items():
        found = list(records(tmp_path, name).values())
        assert [r.status for r in found] == [status] * 4
        assert all(reason in (r.error or "") for r in found)
        assert f"Failed: {name} on Style_A" in done.stderr
        assert not any(Workspace(tmp_path).trained(r.spec) for r in found), "it will be tried again"
    assert [r.status for r in records(tmp_path, "lora").values()] == ["done"] * 4
