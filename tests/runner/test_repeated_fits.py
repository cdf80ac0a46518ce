"""Fits that are trained again or go on after an interruption: nothing of before is left or lost."""

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import homes
import matrix
import pytest
import torch
from conftest import Inside

from bench.contract import Config
from bench.models import backbones
from bench.plugins import options, registry
from bench.progress import Silent
from bench.protocol import tracks
from bench.protocol.spec import FitSpec
from bench.records.record import Record
from bench.runner import resume
from bench.runner.context import RunContext
from bench.runner.jobs import Job, execute_job
from bench.runner.training import FitTraining
from bench.runner.workspace import Workspace
from bench.training import numerics
from methods import lora

Ran = tuple[Path, subprocess.CompletedProcess[str]]


class Heard(Silent):
    """Progress that keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def home(ran: Ran, tmp_path: Path) -> Path:
    homes.copy(ran[0], tmp_path, "data", "runs", "foundations")
    return tmp_path


def context_of(home: Path, track: Path, stopping: Callable[[], bool] = lambda: False) -> RunContext:
    chosen = tracks.load(str(track))
    return RunContext(
        workspace=Workspace(home),
        track=chosen,
        backbone=backbones.spec(chosen.default_backbone),
        numerics=numerics.choose("cpu"),
        progress=Heard(),
        command=(),
        stopping=stopping,
    )


def new_fit(context: RunContext, seed: int = 0) -> Job:
    """One that is not recorded: lora with another rank on Style_A."""
    installed = registry.get("lora")
    method = options.method_spec(
        installed, options.validate(installed, {"rank": 2}), context.backbone.name
    )
    spec = context.fit_spec(method, ("Style_A",), seed=seed)
    return Job(track=context.track, spec=spec)


def one(home: Path, method: str, dataset: str) -> Record:
    found = homes.records(home, method).values()
    return next(r for r in found if r.spec.datasets == (dataset,))


def test_damaged_weights_are_told_and_repeated_if_asked(
    home: Path, tiny_track: Path, inside: Inside
) -> None:
    """The fit had scores out of distribution. Trained again for those in distribution alone, it has
    no others, and neither have its files."""
    record, other = one(home, "lora", "Style_A"), one(home, "lora", "Style_B")
    folder = home / "runs" / record.run_id
    homes.replace(
        folder / "delta.safetensors",
        (home / "runs" / other.run_id / "delta.safetensors").read_bytes(),
    )
    words = ("run", "--method", "lora", "--protocol", "id", "--track", tiny_track)
    code, _, error = inside(*words, home=home)
    assert code == 2
    assert (
        "does not have the hash in its record; repeat the fit with `bench run … --again`" in error
    )
    code, out, error = inside(*words, "--again", home=home)
    assert code == 0, out + error
    again = one(home, "lora", "Style_A")
    assert again.counts == record.counts
    assert [c.test_set.name for c in again.cells] == ["Style_A"]
    rows = homes.sample_scores(home, record.run_id)
    assert rows["dataset"].unique().to_list() == ["Style_A"]
    assert len(rows) == again.cells[0].samples
    code, out, error = inside(*words, "--again", home=home)
    assert code == 0
    assert "Nothing to do" in out


@pytest.mark.exhaustive
def test_time_and_samples_count_once_however_often_a_fit_is_interrupted(
    home: Path, tiny_track: Path
) -> None:
    context = context_of(home, tiny_track, stopping=lambda: True)
    job = new_fit(context)
    folder = context.workspace.run(job.spec)
    for epochs in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            execute_job(job, context)
        kept = torch.load(folder / resume.FOLDER / "checkpoint.pt", weights_only=True)
        assert len(kept["curve"]) == epochs
        assert kept["seconds"] == pytest.approx(sum(e["seconds"] for e in kept["curve"]))
    context = context_of(home, tiny_track)
    record = execute_job(job, context)
    assert record is not None
    assert record.status == "done"
    assert record.resumed == 2
    assert record.cost is not None
    samples = context.track.data.train
    assert record.cost.samples == context.track.fit.epochs * samples
    assert record.cost.seconds >= sum(e.seconds for e in record.curve)


@pytest.mark.parametrize("whose", matrix.part(["method", "backbone"], "backbone"))
def test_what_other_code_has_trained_is_not_gone_on_with(
    home: Path, tiny_track: Path, whose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = context_of(home, tiny_track, stopping=lambda: True)
    with pytest.raises(KeyboardInterrupt):
        execute_job(new_fit(stopped), stopped)
    if whose == "method":
        installed = RunContext.installed

        def changed(self: RunContext, fit: FitSpec) -> Any:
            return replace(installed(self, fit), code="0" * 16)

        monkeypatch.setattr(RunContext, "installed", changed)
    else:
        get = backbones.get
        monkeypatch.setattr(backbones, "get", lambda name: replace(get(name), code="0" * 16))
    context = context_of(home, tiny_track)
    record = execute_job(new_fit(context), context)
    assert record is not None
    assert (record.status, record.resumed) == ("done", 0)
    assert isinstance(context.progress, Heard)
    assert not any("Going on" in text for text in context.progress.said)


@pytest.mark.parametrize(("device", "same"), [("cuda", True), ("cpu", False)])
def test_threads_belong_to_a_checkpoint_on_a_processor_only(
    home: Path, tiny_track: Path, device: str, same: bool
) -> None:
    """torchrun gives the processes that it starts one thread each; a GPU's numbers have none."""
    context = context_of(home, tiny_track)
    context.numerics = replace(context.numerics, device=torch.device(device))
    threads, keys = torch.get_num_threads(), []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            keys.append(FitTraining(new_fit(context).spec, context)._key())
    finally:
        torch.set_num_threads(threads)
    assert (keys[0] == keys[1]) is same


def test_a_method_is_checked_for_each_config(home: Path, tiny_track: Path) -> None:
    context = context_of(home, tiny_track)
    good = new_fit(context).spec
    method = good.method.model_copy(update={"config": good.method.config | {"rank": 3}})
    bad = good.model_copy(update={"method": method})
    assert context.refusal(bad, lambda: "broken") == "broken"
    assert context.refusal(good, lambda: None) is None
    assert context.refusal(bad, lambda: None) == "broken", "it is checked once"
    context.refuse_method(good, "it killed the process")
    assert "it killed the process" in (context.refusal(good, lambda: None) or "")
    assert "it killed the process" in (context.refusal(bad, lambda: None) or "")


@pytest.mark.exhaustive
def test_a_method_whose_promises_fail_is_recorded_and_the_others_go_on(
    home: Path, tiny_track: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Config, traits: Any) -> Any:
        raise RuntimeError("no promise")

    monkeypatch.setattr(type(lora.method.config()), "promises", fail)
    words = ("--method", "lora,bitfit", "--set", "lora.rank=2", "--protocol", "id")
    code, _, _ = inside("run", *words, "--track", tiny_track, home=home)
    assert code == 1
    failed = [r for r in homes.records(home, "lora").values() if r.spec.method.config["rank"] == 2]
    assert len(failed) == 4
    assert {r.status for r in failed} == {"failed"}
    assert all("no promise" in (r.error or "") for r in failed)
    assert {r.status for r in homes.records(home, "bitfit").values()} == {"done"}
