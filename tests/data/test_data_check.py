"""`bench data check`: every fault is found and named, and stops a run."""

import json
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Inside
from data_folders import MAPS, TINY, alter, build, track_file

from bench import cli
from bench.data.inspection import inspect
from bench.data.npy import FileError
from bench.errors import DataError
from bench.models import backbones
from bench.progress import Silent
from bench.protocol.spec import Budget, Data, PretrainingBudget, Track
from bench.runner.context import RunContext
from bench.runner.data import check
from bench.runner.workspace import Workspace
from bench.training import numerics

pytestmark = pytest.mark.usefixtures("simulated_once")

CPU = torch.device("cpu")
GENERATED = Data(source="generated", train=3, test=2, samples_per_file=2)


def track(data: Data) -> Track:
    pretrain, fit = PretrainingBudget(epochs=1, batch=2), Budget(epochs=1, batch=2)
    return Track(name="tiny", version=1, summary="", data=data, pretrain=pretrain, fit=fit)


def session(home: Path, data: Data, folder: Path | None = None) -> RunContext:
    return RunContext(
        workspace=Workspace(home),
        track=track(data),
        backbone=backbones.spec("inversionnet"),
        numerics=numerics.choose("cpu"),
        progress=Silent(),
        command=(),
        data_folder=folder,
    )


@pytest.fixture
def run(inside: Inside) -> Inside:
    """Runs ``bench data …`` in this process."""
    return partial(inside, "data")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home's generated CurveVel_A and CurveFault_B; tests copy what they damage."""
    home = tmp_path_factory.mktemp("home")
    words = ["make", "--track", str(track_file(home, GENERATED)), "--home", str(home)]
    words += ["-d", "CurveVel_A", "-d", "CurveFault_B", "--quiet"]
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", ["bench", "data", *words])
        cli.main()
    assert ended.value.code == 0
    return home


def root_of(home: Path) -> Path:
    (root,) = (home / "data").iterdir()
    return root


def copy(file: str, to: str) -> Callable[[Path], None]:
    return lambda folder: (folder / to).write_bytes((folder / file).read_bytes()) and None


def swap(folder: Path) -> None:
    one, two = folder / "data/data1.npy", folder / "data/data2.npy"
    first = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(first)


def resave(file: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    return lambda folder: np.save(folder / file, change(np.load(folder / file)))


RECORDS = "data/data2.npy"
FAULTS: dict[str, tuple[Callable[[Path], object], str, str, int | None]] = {
    "missing": (
        lambda f: [(f / n).unlink() for n in ("data/data2.npy", "model/model2.npy")],
        "missing",
        RECORDS,
        None,
    ),
    "records without maps": (lambda f: (f / MAPS).unlink(), "unpaired", MAPS, None),
    "maps without records": (lambda f: (f / RECORDS).unlink(), "unpaired", RECORDS, None),
    "cut short": (
        lambda f: (f / RECORDS).write_bytes((f / RECORDS).read_bytes()[:99_999]),
        "truncated",
        RECORDS,
        None,
    ),
    "not a .npy file": (lambda f: (f / MAPS).write_text("<html>404"), "unreadable", MAPS, None),
    "shape": (resave(RECORDS, lambda a: a[:, :, ::2]), "shape", RECORDS, None),
    "type": (resave(MAPS, lambda a: a.astype(np.int16)), "dtype", MAPS, None),
    "sample count": (resave(RECORDS, lambda a: a[:1]), "count", RECORDS, None),
    "NaN": (lambda f: alter(f / RECORDS, (1, 4, 999, 69), np.nan), "not_finite", RECORDS, 1),
    "infinity": (lambda f: alter(f / MAPS, (0, 0, 0, 0), np.inf), "not_finite", MAPS, 0),
    "too slow": (lambda f: alter(f / MAPS, (1, 0, 9, 9), 1200.0), "velocity_range", MAPS, 1),
    "in km/s": (resave(MAPS, lambda a: a / 1000), "velocity_range", MAPS, 0),
    "records of other maps": (swap, "mismatch", "data/data1.npy", 0),
    "another scale": (resave(RECORDS, lambda a: a * 1.1), "mismatch", RECORDS, 0),
    "zeros": (resave(RECORDS, np.zeros_like), "constant", RECORDS, 0),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_named_and_stops_a_run(tmp_path: Path, run: Inside, name: str) -> None:
    damage, fault, file, sample = FAULTS[name]
    folder = build(tmp_path / "files", folder="flatvel-a")
    damage(folder)
    layout = track_file(tmp_path, TINY)
    code, out, _ = run("check", tmp_path / "files", "--json", "--track", layout)
    found = json.loads(out)
    (row,) = (row for row in found["datasets"] if row["folder"])
    assert (code, found["ok"], row["ok"]) == (1, False, False)
    first = row["errors"][0]
    assert (first["fault"], first["file"], first["sample"]) == (fault, str(folder / file), sample)
    assert first["message"].startswith(str(folder / file))

    with pytest.raises(DataError) as caught:
        check(["FlatVel_A"], session(tmp_path / "home", TINY, tmp_path / "files"))
    text = str(caught.value)
    assert str(folder / file) in text or fault == "unpaired"
    assert "\n" not in text


def test_sound_files_pass_and_are_not_read_again_until_they_change(
    tmp_path: Path, run: Inside
) -> None:
    files = tmp_path / "files"
    folder = build(files, "Style_A", folder="style_a")
    layout = track_file(tmp_path, TINY)
    code, out, _ = run("check", files, "--track", layout)
    assert code == 0
    assert "6 of 6" in out
    assert "Nothing is wrong" in out
    assert out.count("not there") == 9
    opened = session(tmp_path / "home", TINY, files)
    check(["Style_A"], opened)
    (note,) = (tmp_path / "home/checked").iterdir()
    (content,) = opened.data_sha256(("Style_A",)).values()
    assert note.stem == content
    before = note.stat().st_mtime_ns
    check(["Style_A"], session(tmp_path / "home", TINY, files))
    assert note.stat().st_mtime_ns == before
    swap(folder)
    with pytest.raises(DataError, match="does not belong to its map"):
        check(["Style_A"], session(tmp_path / "home", TINY, files))


def test_the_headline_counts_what_else_is_wrong(tmp_path: Path) -> None:
    folder = build(tmp_path / "files")
    for sample in (0, 1):
        alter(folder / RECORDS, (sample, 0, 0, 0), np.nan)
    build(tmp_path / "files", "FlatFault_B")
    opened = session(tmp_path / "home", TINY, tmp_path / "files")
    with pytest.raises(DataError, match=r"There are 1 more: see `bench data check`"):
        check(["FlatFault_B", "FlatVel_A"], opened)
    check(["FlatFault_B"], opened)
    report = inspect(tmp_path / "files", "FlatVel_A", TINY, device=CPU, progress=Silent())
    assert [(e.path.name, e.sample) for e in report.errors if isinstance(e, FileError)] == [
        ("data2.npy", 0),
        ("data2.npy", 1),
    ]


def test_a_quick_check_looks_at_a_few_samples(tmp_path: Path, run: Inside) -> None:
    data = TINY.model_copy(update={"train": 4, "test": 1, "samples_per_file": 4})
    folder = build(tmp_path / "files", data=data)
    layout = track_file(tmp_path, data)
    assert run("check", tmp_path / "files", "--track", layout, "--quick")[0] == 0
    alter(folder / "data/data1.npy", (3, 0, 0, 0), np.nan)
    code, out, _ = run("check", tmp_path / "files", "--track", layout, "--quick")
    assert code == 1
    assert "data1.npy: sample 3 holds NaN" in out


def test_without_a_track_the_release_is_expected(tmp_path: Path, run: Inside) -> None:
    build(tmp_path)
    code, out, _ = run("check", tmp_path, "--json")
    (row,) = (row for row in json.loads(out)["datasets"] if row["folder"])
    assert code == 1
    assert row["files_expected"] == 120
    faults = [error["fault"] for error in row["errors"]]
    assert faults.count("missing") == 120 - 6
    assert faults.count("count") == 6


def test_absent_folders_and_datasets(tmp_path: Path, run: Inside) -> None:
    code, _, error = run("check", tmp_path / "nowhere")
    assert code == 2
    assert "is not a folder" in error
    code, out, _ = run("check", tmp_path)
    assert code == 1
    assert "holds no dataset" in out
    build(tmp_path)
    layout = track_file(tmp_path, TINY)
    code, out, _ = run("check", tmp_path, "--track", layout, "-d", "FlatVel_A", "-d", "Style_A")
    assert code == 1
    assert "Asked for, but not there: Style_A." in out
    code, _, error = run("check", tmp_path, "-d", "Style_C")
    assert code == 2
    assert "Did you mean 'Style_" in error
    with pytest.raises(DataError, match="Style_A: the folder is missing"):
        check(["Style_A"], session(tmp_path / "home", TINY, tmp_path))


def test_two_folders_of_one_dataset(tmp_path: Path, run: Inside) -> None:
    build(tmp_path)
    build(tmp_path, folder="flatvel-a")
    code, out, _ = run("check", tmp_path, "--json", "--track", track_file(tmp_path, TINY))
    (error,) = json.loads(out)["datasets"][0]["errors"]
    assert code == 1
    assert error["fault"] == "folder"
    assert "rename one or move it away" in error["message"]


def test_generated_data_are_sound_as_their_manifest_says(sound: Path, run: Inside) -> None:
    code, out, _ = run("check", root_of(sound), "--json")
    rows = [row for row in json.loads(out)["datasets"] if row["folder"]]
    assert code == 0
    assert [(r["dataset"], r["generated"], r["train"], r["test"]) for r in rows] == [
        ("CurveVel_A", True, 3, 2),
        ("CurveFault_B", True, 3, 2),
    ]
    check(["CurveVel_A", "CurveFault_B"], session(sound, GENERATED))


def test_generated_data_that_changed_afterwards_stop_a_run(
    sound: Path, tmp_path: Path, run: Inside
) -> None:
    """One bit in the middle of a record, as a failing disk would leave it."""
    shutil.copytree(sound / "data", tmp_path / "data")
    file = root_of(tmp_path) / "CurveVel_A/data/data1.npy"
    content = bytearray(file.read_bytes())
    content[1_000_000] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"data1\.npy: has changed since it was made"):
        check(["CurveFault_B", "CurveVel_A"], session(tmp_path, GENERATED))
    check(["CurveFault_B"], session(tmp_path, GENERATED))
    code, out, _ = run("check", root_of(tmp_path), "--json")
    (row,) = (row for row in json.loads(out)["datasets"] if row["errors"])
    assert (code, row["dataset"], row["errors"][0]["fault"]) == (1, "CurveVel_A", "changed")
    file.unlink()
    code, _, _ = run(
        "make", "-t", track_file(tmp_path, GENERATED), "-d", "CurveVel_A", "--home", tmp_path
    )
    assert code == 0
    check(["CurveVel_A"], session(tmp_path, GENERATED))
    pristine = root_of(sound) / "CurveVel_A/data/data1.npy"
    assert file.read_bytes() == pristine.read_bytes()


def test_a_folder_of_real_files_is_not_passed_over(tmp_path: Path, inside: Inside) -> None:
    """Without ``--track openfwi`` the run would be on generated data."""
    code, _, error = inside("run", "-m", "fft", "--data", tmp_path, home=tmp_path)
    assert code == 2
    assert "Track 'small' generates its data, so --data has no meaning" in error


def test_nothing_is_made_for_a_track_of_real_files(tmp_path: Path, run: Inside) -> None:
    code, _, error = run("make", "--track", "openfwi", "--home", tmp_path)
    assert code == 2
    assert "reads the real files" in error
