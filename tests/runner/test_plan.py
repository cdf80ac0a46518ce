"""Plans: what is asked, what is found, and that a specification's every field makes its run id."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import Bench, Inside
from data_folders import alter, build

from bench.plugins import options, registry
from bench.progress import Silent
from bench.protocol import protocols, tracks
from bench.protocol.spec import TARGETS, FitSpec, MethodSpec
from bench.records.record import read, write
from bench.runner import plan
from bench.runner.context import Session
from bench.runner.tuning import Tried
from bench.runner.workspace import Home
from bench.training import numerics

Ran = tuple[Path, subprocess.CompletedProcess[str]]

METHOD = MethodSpec(
    name="lora", distribution="d", version=1, code="0" * 16, config={"rank": 4, "alpha": 8.0}
)
SPEC = FitSpec(
    fingerprint="f" * 16,
    track="mini",
    backbone="inversionnet",
    method=METHOD,
    datasets=("Style_A",),
    percent=100,
    seed=0,
)
OTHER: dict[str, object] = {
    "fingerprint": "e" * 16,
    "track": "smoke",
    "backbone": "vit",
    "method": None,
    "datasets": ("Style_B",),
    "percent": 10,
    "seed": 1,
    "part": "validation",
}
OTHER_METHOD: dict[str, object] = {
    "name": "dora",
    "distribution": "e",
    "version": 2,
    "code": "1" * 16,
    "config": {"rank": 4, "alpha": 16.0},
}


def test_every_field_is_covered() -> None:
    assert OTHER.keys() == FitSpec.model_fields.keys()
    assert OTHER_METHOD.keys() == MethodSpec.model_fields.keys()


@pytest.mark.parametrize("field", sorted(OTHER))
def test_every_field_of_the_specification_changes_the_run_id(field: str) -> None:
    assert SPEC.model_copy(update={field: OTHER[field]}).run_id != SPEC.run_id


@pytest.mark.parametrize("field", sorted(OTHER_METHOD))
def test_every_field_of_the_method_changes_the_run_id(field: str) -> None:
    other = METHOD.model_copy(update={field: OTHER_METHOD[field]})
    assert SPEC.model_copy(update={"method": other}).run_id != SPEC.run_id


def test_order_of_options_does_not_change_the_run_id() -> None:
    turned = METHOD.model_copy(update={"config": {"alpha": 8.0, "rank": 4}})
    assert SPEC.model_copy(update={"method": turned}).run_id == SPEC.run_id


def test_run_id_is_the_same_in_every_process() -> None:
    assert SPEC.run_id == "90b8dfd28ede0c52"


def session(home: Path, track: Path | str, data_folder: Path | None = None) -> Session:
    return Session(
        home=Home(home),
        track=tracks.load(str(track)),
        backbone="inversionnet",
        numerics=numerics.choose("cpu"),
        progress=Silent(),
        command=("bench",),
        data_folder=data_folder,
    )


def planned(
    at: Session, protocol: str, methods: str, seeds: Sequence[int] = (0,), grid: Sequence[str] = ()
) -> plan.Plan:
    found = options.methods([methods], registry.load())
    choices, _ = options.choose(found, (), at.backbone, skip_unfit=False)
    chosen = protocols.get(protocol)
    candidates = []
    if chosen.sweeps:
        candidates, _ = options.grids(choices, grid, at.backbone, skip_unfit=True)
    return plan.plan(chosen, choices, seeds, at, candidates=candidates)


@pytest.mark.parametrize(
    ("protocol", "methods", "foundations", "fits", "cells", "datasets"),
    [
        ("ood", "lora,fft", 1, 8, 6 + 8 * 4, 10),
        ("ood", "baseline", 0, 4, 4 * 4, 4),
        ("id", "lora", 1, 4, 6 + 4 * 4, 10),
        ("lowdata", "lora", 1, 20, 6 + 20 * 4, 10),
        ("pretrain", "lora,baseline", 1, 6, 6 + 6, 6),
        ("sweep", "lora", 1, 4 * 36, 6 + 4 * 36, 10),
        ("all", "baseline", 1, 26, 6 + 6 + 20 * 4, 10),
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
    todo = planned(session(tmp_path, "smoke"), protocol, methods)
    assert (todo.foundations, todo.fits, todo.cells) == (foundations, fits, cells)
    assert len(todo.datasets_to_make) == datasets
    assert todo.records_to_simulate == 20 * datasets
    assert len({task.spec.run_id for task in todo.tasks}) == len(todo.tasks)


def test_each_seed_has_its_foundation_before_its_fits(tmp_path: Path) -> None:
    todo = planned(session(tmp_path, "smoke"), "id", "lora", seeds=(0, 1, 2))
    kinds = [(task.spec.seed, task.installed is None) for task in todo.tasks]
    assert kinds == [(s, first) for s in (0, 1, 2) for first in (True, *[False] * 4)]


def test_protocols_share_fits(ran: Ran, tiny_track: Path) -> None:
    at = session(ran[0], tiny_track)
    assert not planned(at, "id", "lora,fft,baseline").tasks
    low = planned(at, "lowdata", "lora")
    assert (low.fits, low.foundations, len(low.done)) == (16, 0, 5)
    assert not low.strays


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
    at = session(tmp_path / "home", track, data_folder=tmp_path / "ours")
    todo = planned(at, "id", "baseline")
    template = read(Path(__file__).parents[1] / "records" / "old_records" / "schema_1.json")
    for task in todo.tasks:
        seen = at.data_sha256(task.spec.test_datasets)
        facts = {"spec": task.spec, "run_id": task.spec.run_id, "data_sha256": seen}
        folder = at.home.run(task.spec)
        write(template.model_copy(update=facts), folder)
        for file in ("scores.parquet", "delta.safetensors"):
            (folder / file).touch()

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
        if record.spec.method_name == "lora":
            write(record.model_copy(update={"foundation_sha256": "0" * 64}), path.parent)
    assert planned(session(tmp_path, tiny_track), "ood", "lora,fft,baseline").strays == 4


def test_a_sweep_is_counted_in_the_records_of_its_method(
    ran: Ran, bench: Bench, tiny_track: Path, tmp_path: Path
) -> None:
    """Two of 2 × 2 configs fit the network; the fits after the sweep know of two tries and theirs.

    The sweep is scored on the validation part alone: one sample of four, not trained on.
    """
    for part in ("data", "foundations"):
        shutil.copytree(ran[0] / part, tmp_path / part)
    shutil.copy(ran[0] / "machine.json", tmp_path)
    words = ("run", "--method", "bitfit", "--track", str(tiny_track), "--quiet", "--protocol")
    sweep = (*words, "sweep", "--grid", "learning_rate_scale=1,2")
    done = bench(*sweep, home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "train 8 fits, score 8 cells" in done.stdout
    assert "Sweep of bitfit" in done.stdout
    records = [read(path) for path in tmp_path.glob("runs/*/record.json")]
    assert {(r.configs_tried, r.cells[0].part, r.cells[0].samples) for r in records} == {
        (1, "validation", 1)
    }
    tried = Tried(Home(tmp_path))
    default = next(r for r in records if r.spec.method and r.spec.method.config == CONFIG)
    final = default.spec.model_copy(update={"part": "test"})
    assert tried.count(final) == 2
    assert tried.count(default.spec) == 1
    assert tried.count(_with(final, learning_rate_scale=7.0)) == 3
    assert tried.count(final.model_copy(update={"fingerprint": "0" * 16})) == 1


CONFIG = {"learning_rate_scale": 1.0}


def _with(spec: FitSpec, **config: object) -> FitSpec:
    assert spec.method is not None
    method = spec.method.model_copy(update={"config": spec.method.config | config})
    return spec.model_copy(update={"method": method})


def test_unknown_word_after_the_grid_is_refused(inside: Inside, tmp_path: Path) -> None:
    sweep = ("run", "--method", "lora", "--protocol", "sweep")
    code, _, error = inside(*sweep, "--grid", "rank=4", "alpha", home=tmp_path)
    assert code == 2
    assert "Unexpected word 'alpha'" in error
    code, _, error = inside("run", "--method", "lora", "--grid", "rank=4", home=tmp_path)
    assert code == 2
    assert "--grid is for --protocol sweep" in error
