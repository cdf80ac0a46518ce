"""Plans: what is asked, what is found, and that a specification's every field makes its run id."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Bench, Inside
from data_folders import alter, build
from homes import assert_same, copy, records, remove_runs
from hypothesis import given
from hypothesis import strategies as st

from bench.contract import Config
from bench.data import subsets
from bench.errors import MethodError
from bench.models import backbones
from bench.plugins import options, registry
from bench.plugins.options import canonical_config
from bench.progress import Silent
from bench.protocol import protocols, tracks
from bench.protocol.spec import PERCENTS, TARGETS, BackboneSpec, FitSpec, MethodSpec
from bench.records.reader import read
from bench.records.record import write
from bench.runner import plan
from bench.runner.context import RunContext
from bench.runner.jobs import Job
from bench.runner.workspace import Workspace
from bench.seismic import metrics
from bench.training import numerics

Ran = tuple[Path, subprocess.CompletedProcess[str]]

METHOD = MethodSpec(name="lora", distribution="d", version=1, config={"rank": 4, "alpha": 8.0})
NETWORK = BackboneSpec(name="inversionnet")
SPEC = FitSpec(
    fingerprint="f" * 16,
    track="mini",
    backbone=NETWORK,
    method=METHOD,
    datasets=("Style_A",),
    percent=100,
    seed=0,
)
OTHER: dict[str, object] = {
    "kind": "pretraining",
    "fingerprint": "e" * 16,
    "track": "smoke",
    "backbone": NETWORK.model_copy(update={"version": 2}),
    "method": METHOD.model_copy(update={"name": "dora"}),
    "datasets": ("Style_B",),
    "percent": 10,
    "seed": 1,
    "holdout": True,
}
OTHER_METHOD: dict[str, object] = {
    "name": "dora",
    "distribution": "e",
    "version": 2,
    "config": {"rank": 4, "alpha": 16.0},
}


def test_every_field_is_covered() -> None:
    assert OTHER.keys() == FitSpec.model_fields.keys()
    assert OTHER_METHOD.keys() == MethodSpec.model_fields.keys()


@pytest.mark.parametrize("field", sorted(OTHER))
def test_every_field_of_the_specification_changes_the_run_id(field: str) -> None:
    assert SPEC.model_copy(update={field: OTHER[field]}).run_id != SPEC.run_id


def test_a_version_raised_for_some_networks_leaves_runs_on_others_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = registry.get("lora")
    raised = replace(old.method, version=3, unchanged={"inversionnet": 1})
    new = replace(old, method=raised)

    def spec(network: str, lora: registry.Installed) -> tuple[RunContext, FitSpec]:
        context = RunContext(
            workspace=Workspace(tmp_path),
            track=tracks.load("smoke"),
            backbone=backbones.spec(network),
            numerics=numerics.choose("cpu"),
            progress=Silent(),
            command=(),
        )
        method = options.method_spec(lora, lora.method.config(), network)
        return context, context.fit_spec(method, ("Style_A",), seed=0)

    monkeypatch.setattr(registry, "get", lambda name: new)
    context, ran = spec("inversionnet", old)
    assert ran == spec("inversionnet", new)[1]
    assert context.installed(ran) is new
    context, ran = spec("hybrid_vit", old)
    assert spec("hybrid_vit", new)[1].method.version == 3
    with pytest.raises(MethodError, match=r"version 1, is needed; installed is version 3 of"):
        context.installed(ran)


@pytest.mark.parametrize("field", sorted(OTHER_METHOD))
def test_every_field_of_the_method_changes_the_run_id(field: str) -> None:
    other = METHOD.model_copy(update={field: OTHER_METHOD[field]})
    assert SPEC.model_copy(update={"method": other}).run_id != SPEC.run_id


def test_order_of_options_does_not_change_the_run_id() -> None:
    turned = METHOD.model_copy(update={"config": {"alpha": 8.0, "rank": 4}})
    assert SPEC.model_copy(update={"method": turned}).run_id == SPEC.run_id


def test_run_id_is_the_same_in_every_process() -> None:
    assert SPEC.run_id == "55010760f3d231c1"


class Sets(Config):
    """An option whose values have no order."""

    layers: frozenset[str] = frozenset()


@pytest.mark.exhaustive
def test_a_set_in_a_config_has_one_order_in_every_process() -> None:
    code = """
from bench.contract import Config
from bench.plugins.options import canonical_config
class Sets(Config):
    layers: frozenset[str] = frozenset()
print(canonical_config(Sets(layers=frozenset({"a", "b", "c", "d", "e"}))))
"""
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in range(4)
    }
    assert len(said) == 1
    assert "['a', 'b', 'c', 'd', 'e']" in said.pop()
    assert canonical_config(Sets(layers=frozenset({"b", "a"})))["layers"] == ["a", "b"]


def context_of(home: Path, track: Path | str, data_folder: Path | None = None) -> RunContext:
    loaded = tracks.load(str(track))
    network = "inversionnet" if track in tracks.names() else loaded.default_backbone
    return RunContext(
        workspace=Workspace(home),
        track=loaded,
        backbone=backbones.spec(network),
        numerics=numerics.choose("cpu"),
        progress=Silent(),
        command=("bench",),
        data_folder=data_folder,
    )


def planned(
    at: RunContext,
    protocol: str,
    methods: str,
    seeds: Sequence[int] = (0,),
    grid: Sequence[str] = (),
    again: bool = False,
) -> plan.Plan:
    found = options.methods([methods], registry.load())
    choices, _ = options.choose(found, (), at.backbone.name, skip_unfit=False)
    chosen = protocols.get(protocol)
    candidates = []
    if chosen.sweeps:
        candidates, _ = options.grids(
            choices,
            grid,
            at.backbone.name,
            skip_unfit=True,
            common=chosen.grid,
            own=chosen.own_grids,
        )
    return plan.plan(chosen, choices, seeds, at, candidates=candidates, again=again)


@pytest.mark.parametrize(
    ("protocol", "methods", "foundations", "fits", "cells", "datasets"),
    [
        ("ood", "lora,fft", 1, 8, 8 * 3, 10),
        ("ood", "baseline", 0, 4, 4 * 3, 4),
        ("id", "lora", 1, 4, 4, 10),
        ("lowdata", "lora", 1, 20, 20 * 4, 10),
        ("retention", "lora", 1, 4, 4 * 6, 10),
        ("pretrain", "lora,baseline", 1, 6, 6 + 6, 6),
        ("sweep", "lora", 1, 4 * 36, 4 * 36, 10),
        ("sweep", "lora,fft", 1, 4 * (36 + 4), 4 * (36 + 4), 10),
        ("tuning", "lora,fft", 1, 2 * 4 * 4, 2 * 4 * 4, 10),
        ("tuning", "lora,none", 1, 4 * 4, 4 * 4 + 4, 10),
        ("all", "baseline", 1, 26 + 4 * 4, 6 + 6 + 20 * 4 + 4 * 6 + 4 * 12 + 4 * 4, 10),
    ],
)
def test_what_a_protocol_asks(
    tmp_path: Path,
    protocol: str,
    methods: str,
    foundations: int,
    fits: int,
    cells: int,
    datasets: int,
) -> None:
    todo = planned(context_of(tmp_path, "smoke"), protocol, methods)
    assert (todo.foundations, todo.fits, todo.cells) == (foundations, fits, cells)
    assert len(todo.datasets_to_make) == datasets
    anew = sum(todo.records_to_resimulate.values())
    assert anew == (2 * 4 * 2 if protocol == "all" else 0)  # sources, targets, test samples
    assert todo.records_to_simulate == (12 + 2) * datasets + anew
    assert len({job.key for job in todo.jobs}) == len(todo.jobs)
    floors = {job.spec.datasets for job in todo.jobs if job.spec.kind == "floor"}
    slots = protocols.get(protocol).slots
    assert floors == {slot.datasets for slot in slots if slot.kind == "floor"}


def test_each_seed_has_its_foundation_before_its_fits(tmp_path: Path) -> None:
    todo = planned(context_of(tmp_path, "smoke"), "id", "lora", seeds=(0, 1, 2))
    kinds = [
        (job.spec.seed, job.spec.kind == "pretraining")
        for job in todo.jobs
        if job.spec.kind != "floor"
    ]
    assert kinds == [(s, first) for s in (0, 1, 2) for first in (True, *[False] * 4)]


def test_protocols_share_fits(ran: Ran, tiny_track: Path) -> None:
    """After `ood`, in distribution only scores are missing, and low data has its whole fits."""
    at = context_of(ran[0], tiny_track)
    assert not planned(at, "ood", "lora,fft,baseline").jobs
    own = planned(at, "id", "lora,fft,baseline")
    assert (own.foundations, own.fits, own.cells, len(own.jobs)) == (0, 0, 12, 12)
    low = planned(at, "lowdata", "lora")
    assert (low.fits, low.foundations, low.cells) == (16, 0, 16 * 4 + 4)
    assert not low.other_foundation


def test_a_new_metric_asks_for_scores_and_for_no_training(
    ran: Ran, tiny_track: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = replace(metrics.get("mae"), name="extra")
    monkeypatch.setattr(metrics, "METRICS", (*metrics.METRICS, extra))
    todo = planned(context_of(ran[0], tiny_track), "ood", "lora")
    assert (todo.foundations, todo.fits, todo.cells) == (0, 0, 12)


def test_a_new_version_of_a_metric_asks_for_scores(
    ran: Ran, tiny_track: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *others = metrics.METRICS
    monkeypatch.setattr(metrics, "METRICS", (replace(first, version=2), *others))
    todo = planned(context_of(ran[0], tiny_track), "ood", "lora")
    assert (todo.fits, todo.cells) == (0, 12)


def test_other_code_of_the_same_version_is_told_and_repeated_if_asked(
    ran: Ran, tiny_track: Path, tmp_path: Path, inside: Inside
) -> None:
    copy(ran[0], tmp_path, "data", "runs", "foundations")
    for record in records(tmp_path, "lora").values():
        release = record.method_release.model_copy(update={"code": "0" * 16})
        folder = tmp_path / "runs" / record.run_id
        (folder / "record.json").unlink()
        write(record.model_copy(update={"method_release": release}), folder)
    at = context_of(tmp_path, tiny_track)
    todo = planned(at, "ood", "lora")
    assert (len(todo.jobs), len(todo.other_code)) == (0, 4)
    again = planned(at, "ood", "lora", again=True)
    assert (again.fits, again.cells, len(again.other_code)) == (4, 12, 0)
    assert all(job.again for job in again.jobs if job.spec.kind == "adaptation")
    words = ("run", "--method", "lora", "--protocol", "ood", "--track", tiny_track, "--dry-run")
    code, out, _ = inside(*words, home=tmp_path)
    assert code == 0
    assert "4 recorded fits of lora ran with other code under the same version" in out
    assert "raise the method's version, or repeat them with --again" in out


def test_other_code_of_the_backbone_is_told(
    ran: Ran, tiny_track: Path, tmp_path: Path, inside: Inside
) -> None:
    copy(ran[0], tmp_path, "data", "runs", "foundations")
    for record in records(tmp_path, "lora").values():
        release = record.backbone_release.model_copy(update={"code": "0" * 16})
        folder = tmp_path / "runs" / record.run_id
        (folder / "record.json").unlink()
        write(record.model_copy(update={"backbone_release": release}), folder)
    words = ("run", "--method", "lora", "--protocol", "ood", "--track", tiny_track, "--dry-run")
    code, out, _ = inside(*words, home=tmp_path)
    assert code == 0
    assert re.search(r"4 recorded fits ran with other code of backbone \w+ under the same", out)


@given(samples=st.integers(3, 2000), percent=st.sampled_from(PERCENTS), holdout=st.booleans())
def test_the_plan_counts_what_a_fit_trains_on(samples: int, percent: int, holdout: bool) -> None:
    """With what is held out; the estimate and the fit once disagreed by a rounding."""
    parts = subsets.parts(samples, dataset="Style_A", percent=percent, seed=0, holdout=holdout)
    track = tracks.load("mini")
    data = track.data.model_copy(update={"train": samples})
    spec = SPEC.model_copy(update={"percent": percent})
    counted = plan.epoch_samples(spec, track.model_copy(update={"data": data}))
    assert counted == len(parts.train) + len(parts.validation)
    if holdout:
        assert 1 <= len(parts.validation) <= len(parts.train) + 1
        assert len(parts.validation) >= min(32, counted // 2)


@given(samples=st.integers(3, 2000), percent=st.sampled_from(PERCENTS))
def test_what_a_method_chooses_on_does_not_score_it(samples: int, percent: int) -> None:
    """Where configs are compared on validation data, a method that chooses its weights on some has
    a part of its own; it trains on what the others train on."""
    where = {"samples": samples, "dataset": "Style_A", "percent": percent, "seed": 0}
    others = subsets.parts(**where, holdout=True)
    both = subsets.parts(**where, holdout=True, chooses=True)
    alone = subsets.parts(**where, holdout=False, chooses=True)
    assert both.train.tolist() == others.train.tolist() == alone.train.tolist()
    assert alone.choice.tolist() == others.validation.tolist()
    held = len(others.validation)
    assert len(both.validation) == subsets.scored_size(held, chooses=True) >= 1
    if held > 1:
        assert sorted([*both.choice, *both.validation]) == sorted(others.validation)
        assert len(both.validation) - len(both.choice) in (0, 1)


@pytest.mark.exhaustive
def test_a_job_travels_as_json_and_runs_from_the_workspace_alone(
    ran: Ran, tiny_track: Path, tmp_path: Path
) -> None:
    """In another process, which gets nothing but the job and the folder."""
    copy(ran[0], tmp_path, "data", "foundations", "runs")
    remove_runs(tmp_path, "Style_B")
    (job,) = planned(context_of(tmp_path, tiny_track), "ood", "lora").jobs
    assert Job.model_validate_json(job.model_dump_json()) == job
    code = """
import sys
from pathlib import Path
from bench.runner.jobs import Job, execute_from_home
job = Job.model_validate_json(sys.argv[1])
print(execute_from_home(job, Path(sys.argv[2]), device="cpu").status)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, job.model_dump_json(), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "done", done.stderr
    assert_same(tmp_path, ran[0], "lora")


FILES = """
name = "files"
version = 1
summary = "A few samples in the place of the real files."
default_protocol = "id"
[data]
source = "files"
train = 4
test = 2
samples_per_file = 2
[pretrain]
epochs = 1
batch = 2
[fit]
epochs = 1
batch = 2
"""


def test_records_of_other_real_files_are_not_reused(tmp_path: Path, inside: Inside) -> None:
    """The run id does not know what is in the files, but the record has their hash."""
    track = tmp_path / "files.toml"
    track.write_text(FILES, encoding="utf-8")
    for name in TARGETS:
        build(tmp_path / "ours", name)
    at = context_of(tmp_path / "home", track, data_folder=tmp_path / "ours")
    todo = planned(at, "id", "baseline")
    template = read(Path(__file__).parents[1] / "records" / "old_records" / "schema_1.json")
    cell = template.cells[0]
    (evaluation,) = template.evaluations
    current = {m.name: m.version for m in metrics.METRICS}
    for job in todo.jobs:
        seen = at.data_sha256(job.spec.datasets)
        cells = tuple(
            cell.model_copy(update={"test_set": test, "versions": current}) for test in job.tests
        )
        scored = evaluation.model_copy(update={"cells": cells, "data_sha256": seen})
        facts = {
            "spec": job.spec,
            "run_id": job.spec.run_id,
            "former_id": None,
            "data_sha256": seen,
            "foundation_sha256": None,
            "evaluations": (scored,),
        }
        write(template.model_copy(update=facts), at.workspace.run(job.spec))
        at.workspace.weights(job.spec).touch()

    def run(data: Path) -> tuple[int, str, str]:
        words = ("run", "--method", "baseline", "--protocol", "id", "--track", track, "--dry-run")
        return inside(*words, "--data", data, home=tmp_path / "home")

    (tmp_path / "ours").rename(tmp_path / "moved")
    code, out, _ = run(tmp_path / "moved")
    assert code == 0
    assert "Nothing to do" in out
    shutil.copytree(tmp_path / "moved", tmp_path / "theirs")
    alter(tmp_path / "theirs" / "Style_A" / "data" / "data1.npy", (0, 0, 0, 0), 1.0)
    code, out, error = run(tmp_path / "theirs")
    assert code == 2
    assert "is recorded with other files of Style_A than those in" in error
    assert "choose another --home" in error
    assert len(error.strip().splitlines()) == 1
    shutil.rmtree(tmp_path / "theirs" / "Style_A")
    code, out, _ = run(tmp_path / "theirs")
    assert code == 0, "what is not there is not taken for anything"
    assert "Nothing to do" in out


def test_fits_of_another_foundation_are_told(ran: Ran, tiny_track: Path, tmp_path: Path) -> None:
    shutil.copytree(ran[0] / "runs", tmp_path / "runs")
    shutil.copytree(ran[0] / "foundations", tmp_path / "foundations")
    for path in tmp_path.glob("runs/*/record.json"):
        record = read(path)
        if record.spec.method.name == "lora":
            write(record.model_copy(update={"foundation_sha256": "0" * 64}), path.parent)
    at = context_of(tmp_path, tiny_track)
    assert len(planned(at, "ood", "lora,fft,baseline").other_foundation) == 4
    again = planned(at, "ood", "lora", again=True)
    assert (again.fits, len(again.other_foundation)) == (4, 0)


@pytest.mark.exhaustive
def test_a_sweep_trains_and_scores_on_its_own_parts(
    ran: Ran, bench: Bench, tiny_track: Path, tmp_path: Path
) -> None:
    """Two samples of four are held out and scored; the other two are trained on."""
    for part in ("data", "foundations"):
        shutil.copytree(ran[0] / part, tmp_path / part)
    shutil.copy(ran[0] / "machine.json", tmp_path)
    words = ("run", "--method", "bitfit", "--track", str(tiny_track), "--quiet", "--protocol")
    sweep = (*words, "sweep", "--grid", "learning_rate_scale=1,2")
    done = bench(*sweep, home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "train 8 fits, score 8 cells" in done.stdout
    assert "Sweep of bitfit" in done.stdout
    found = records(tmp_path, "bitfit").values()
    assert {(c.test_set.split, c.samples) for r in found for c in r.cells} == {("validation", 2)}
    assert {r.cost.samples for r in found if r.cost} == {2 * 2}
    assert all(r.spec.holdout for r in found)


def test_unknown_word_after_the_grid_is_refused(inside: Inside, tmp_path: Path) -> None:
    sweep = ("run", "--method", "lora", "--protocol", "sweep")
    code, _, error = inside(*sweep, "--grid", "rank=4", "alpha", home=tmp_path)
    assert code == 2
    assert "Unexpected word 'alpha'" in error
    code, _, error = inside("run", "--method", "lora", "--grid", "rank=4", home=tmp_path)
    assert code == 2
    assert "--grid is for --protocol sweep" in error
