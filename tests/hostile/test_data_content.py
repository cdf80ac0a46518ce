"""Data that are finite, in range and wrong are found, and a changed file is noticed."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from data_folders import TINY, alter, build, track_file

from bench.data import inspection, npy
from bench.data.inspection import Depth, Inspection, inspect
from bench.data.npy import FileError
from bench.errors import DataError
from bench.models import backbones
from bench.progress import Silent
from bench.protocol.spec import Budget, Data, PretrainingBudget, Track
from bench.runner.context import RunContext
from bench.runner.data import check, make
from bench.runner.workspace import Workspace
from bench.training import numerics

pytestmark = pytest.mark.usefixtures("simulated_once")

NINE = Data(source="files", train=4, test=2, samples_per_file=4)
"""One file of four samples and one of two."""


def context(home: Path, files: Path | None, data: Data = TINY) -> RunContext:
    budget = Budget(epochs=1, batch=2)
    track = Track(
        name="tiny",
        version=1,
        summary="",
        data=data,
        pretrain=PretrainingBudget(epochs=1, batch=2),
        fit=budget,
    )
    return RunContext(
        workspace=Workspace(home),
        track=track,
        backbone=backbones.spec("inversionnet_quarter"),
        numerics=numerics.choose("cpu"),
        progress=Silent(),
        command=(),
        data_folder=files,
    )


def look(root: Path, depth: Depth = "full", data: Data = TINY) -> Inspection:
    return inspect(
        root,
        "FlatVel_A",
        data,
        depth=depth,
        device=torch.device("cpu"),
        progress=Silent(),
    )


def change(path: Path, edit: Callable[[np.ndarray], object]) -> None:
    array = np.load(path)
    edit(array)
    np.save(path, array)


def both(folder: Path, number: int) -> tuple[Path, Path]:
    return folder / f"data/data{number}.npy", folder / f"model/model{number}.npy"


def copy_sample(folder: Path, source: tuple[int, int], target: tuple[int, int]) -> None:
    """Store a sample, record and map, once more in place of another."""
    for old, new in zip(both(folder, source[0]), both(folder, target[0]), strict=True):
        sample = np.load(old)[source[1]]
        change(new, lambda a, sample=sample: a.__setitem__(target[1], sample))


def copy_file(folder: Path, source: int, target: int) -> None:
    for old, new in zip(both(folder, source), both(folder, target), strict=True):
        shutil.copy(old, new)


def silence(path: Path, place: object, value: float = 0.0) -> None:
    change(path, lambda a: a.__setitem__(place, value))


WRONG: dict[str, tuple[Callable[[Path], object], str, str, int]] = {
    "a record of zeros": (lambda f: silence(f / "data/data1.npy", 0), "constant", "data1.npy", 0),
    "a record of zeros, the last": (
        lambda f: silence(f / "data/data3.npy", 1),
        "constant",
        "data3.npy",
        1,
    ),
    "a record of one value": (
        lambda f: silence(f / "data/data2.npy", 1, 0.5),
        "constant",
        "data2.npy",
        1,
    ),
    "a shot of zeros": (
        lambda f: silence(f / "data/data1.npy", (1, 3)),
        "constant",
        "data1.npy",
        1,
    ),
    "a sample twice in a file": (
        lambda f: copy_sample(f, (1, 0), (1, 1)),
        "duplicate",
        "data1.npy",
        1,
    ),
    "a sample twice in the training split": (
        lambda f: copy_sample(f, (1, 1), (2, 0)),
        "duplicate",
        "data2.npy",
        0,
    ),
    "a training sample that is tested on": (
        lambda f: copy_sample(f, (2, 1), (3, 0)),
        "duplicate",
        "data3.npy",
        0,
    ),
    "a test file that copies a training file": (
        lambda f: copy_file(f, 1, 3),
        "duplicate",
        "data3.npy",
        0,
    ),
    "a map twice": (
        lambda f: shutil.copy(f / "model/model1.npy", f / "model/model2.npy"),
        *("duplicate", "model2.npy", 0),
    ),
    "a record twice": (
        lambda f: shutil.copy(f / "data/data1.npy", f / "data/data2.npy"),
        *("duplicate", "data2.npy", 0),
    ),
    "reordered records": (
        lambda f: change(f / "data/data1.npy", lambda a: a.__setitem__(..., a[::-1].copy())),
        *("mismatch", "data1.npy", 0),
    ),
    "reordered maps": (
        lambda f: change(f / "model/model3.npy", lambda a: a.__setitem__(..., a[::-1].copy())),
        *("mismatch", "data3.npy", 0),
    ),
    "mirrored maps": (
        lambda f: change(f / "model/model2.npy", lambda a: a.__setitem__(..., a[..., ::-1].copy())),
        *("mismatch", "data2.npy", 0),
    ),
    "polarity": (
        lambda f: change(f / "data/data2.npy", lambda a: a.__imul__(-1)),
        *("mismatch", "data2.npy", 0),
    ),
    "time reversed": (
        lambda f: change(f / "data/data2.npy", lambda a: a.__setitem__(..., a[:, :, ::-1].copy())),
        *("mismatch", "data2.npy", 0),
    ),
    "shots in another order": (
        lambda f: change(f / "data/data2.npy", lambda a: a.__setitem__(..., a[:, ::-1].copy())),
        *("mismatch", "data2.npy", 0),
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_finite_in_range_and_wrong_is_found_and_stops_a_run(
    tmp_path: Path, name: str
) -> None:
    damage, fault, file, sample = WRONG[name]
    damage(build(tmp_path / "files"))
    first = look(tmp_path / "files").errors[0]
    assert isinstance(first, FileError)
    assert (first.fault, first.path.name, first.sample) == (fault, file, sample)
    with pytest.raises(DataError) as caught:
        check(["FlatVel_A"], context(tmp_path / "home", tmp_path / "files"))
    assert str(first) in str(caught.value)


@pytest.mark.parametrize("sample", [0, 2, 3])
def test_first_middle_and_last_sample_are_simulated_anew(tmp_path: Path, sample: int) -> None:
    folder = build(tmp_path, data=NINE)
    assert look(tmp_path, data=NINE).simulated == 3 + 2
    change(folder / "data/data1.npy", lambda a: a[sample].__imul__(1.1))
    (error,) = look(tmp_path, data=NINE).errors
    assert isinstance(error, FileError)
    assert (error.fault, error.sample) == ("mismatch", sample)


def test_a_thorough_check_simulates_more(tmp_path: Path) -> None:
    """Sample 1 of 4 is not among first, middle and last."""
    folder = build(tmp_path, data=NINE)
    change(folder / "data/data1.npy", lambda a: a[1].__imul__(1.1))
    assert look(tmp_path, data=NINE).ok
    (error,) = look(tmp_path, "thorough", NINE).errors
    assert isinstance(error, FileError)
    assert (error.fault, error.sample) == ("mismatch", 1)
    assert look(tmp_path, "quick", NINE).ok


def test_homogeneous_maps_are_no_fault(tmp_path: Path) -> None:
    """A map of one velocity is a map; what its record lacks is told by the simulation."""
    folder = build(tmp_path)
    change(folder / "model/model1.npy", lambda a: a[1].fill(2000.0))
    assert [e.fault for e in look(tmp_path).errors if isinstance(e, FileError)] == ["mismatch"]


def test_the_hash_of_real_data_is_that_of_all_their_bytes(tmp_path: Path) -> None:
    """Independent truth: SHA-256 of each whole file, and of their canonical JSON."""
    folder = build(tmp_path / "files")
    names = [f"{kind}{n}.npy" for n in (1, 2, 3) for kind in ("data/data", "model/model")]
    each = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    text = json.dumps(each, sort_keys=True, separators=(",", ":"))
    expected = {"FlatVel_A": hashlib.sha256(text.encode()).hexdigest()}
    first = context(tmp_path / "home", tmp_path / "files")
    assert first.data_sha256(("FlatVel_A",)) == expected
    checked = context(tmp_path / "other", tmp_path / "files")
    check(["FlatVel_A"], checked)  # which hashes what it reads in any case
    assert checked.data_sha256(("FlatVel_A",)) == expected


CHANGES: dict[str, Callable[[Path], object]] = {
    "the last bit of one number": lambda f: alter(f / "data/data1.npy", (1, 2, 700, 33), 1e-6),
    "a map's cell": lambda f: alter(f / "model/model3.npy", (0, 0, 35, 35), 3000.0),
    "a file's time alone": lambda f: os.utime(f / "data/data1.npy", (1, 1)),
    "another file of the same size and time": lambda f: replaced(f / "data/data2.npy"),
}


def replaced(path: Path) -> None:
    was, content = path.stat(), bytearray(path.read_bytes())
    content[500_000] ^= 1
    path.rename(path.with_suffix(".old"))
    path.write_bytes(content)
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_file_is_noticed(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = build(tmp_path / "files")
    before = context(tmp_path / "home", tmp_path / "files").data_sha256(("FlatVel_A",))
    CHANGES[name](folder)
    read = reads(monkeypatch)
    after = context(tmp_path / "home", tmp_path / "files").data_sha256(("FlatVel_A",))
    assert (after == before) is (name == "a file's time alone")
    assert len(read) == 1, "only that file is read again"


def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files of which all is read from now on, for their hash or their values."""
    seen: list[Path] = []
    whole, scan = npy.sha256, npy.NpyFile.scan

    def hashed(path: Path, *, generated: bool = False) -> str:
        seen.append(path)
        return whole(path, generated=generated)

    def scanned(file: npy.NpyFile, rows: object) -> object:
        seen.append(file.path)
        return scan(file, rows)  # type: ignore[arg-type]

    monkeypatch.setattr("bench.data.identity.sha256", hashed)
    monkeypatch.setattr(inspection.NpyFile, "scan", scanned)
    return seen


def test_unchanged_data_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither real files, which a first check has read, nor generated ones."""
    build(tmp_path / "files")
    check(["FlatVel_A"], context(tmp_path / "home", tmp_path / "files"))
    made = Data(source="generated", train=3, test=2, samples_per_file=2)
    make("Style_A", context(tmp_path / "home", None, made))
    check(["Style_A"], context(tmp_path / "home", None, made))
    read = reads(monkeypatch)
    again = context(tmp_path / "home", tmp_path / "files")
    check(["FlatVel_A"], again)
    again.data_sha256(("FlatVel_A",))
    check(["Style_A"], context(tmp_path / "home", None, made))
    assert read == []


def test_a_damaged_note_of_hashes_is_as_good_as_none(tmp_path: Path) -> None:
    build(tmp_path / "files")
    before = context(tmp_path / "home", tmp_path / "files").data_sha256(("FlatVel_A",))
    (note,) = (tmp_path / "home/hashes").iterdir()
    for content in (b"", b"{", b"[" * 100_000, b'{"folder": 1}', b"\xff\xfe"):
        note.write_bytes(content)
        after = context(tmp_path / "home", tmp_path / "files").data_sha256(("FlatVel_A",))
        assert after == before


ADVICE: dict[str, Callable[[Path], object]] = {
    "a damaged header": lambda f: (f / "data/data1.npy").write_bytes(b"\x93NUMPY"),
    "cut short": lambda f: os.truncate(f / "data/data1.npy", 99_999),
    "missing": lambda f: (f / "data/data1.npy").unlink(),
    "NaN": lambda f: alter(f / "data/data1.npy", (0, 0, 0, 0), np.nan),
    "duplicates": lambda f: copy_file(f, 1, 2),
    "zeros": lambda f: silence(f / "data/data1.npy", 0),
}


@pytest.mark.parametrize("name", ADVICE)
def test_nobody_is_told_to_remove_real_files(tmp_path: Path, name: str) -> None:
    """This program cannot make them again."""
    ADVICE[name](build(tmp_path))
    errors = look(tmp_path).errors
    assert errors
    for error in errors:
        assert "delete" not in str(error)
        assert "made again" not in str(error)
        assert "fetch it" in str(error)


def make_folder(dataset: str, at: RunContext) -> Path:
    """Generate a dataset; returns its folder."""
    assert make(dataset, at)
    return at.data_root / dataset


def test_generated_files_may_be_made_again(tmp_path: Path) -> None:
    made = Data(source="generated", train=3, test=2, samples_per_file=2)
    at = context(tmp_path, None, made)
    folder = make_folder("Style_A", at)
    os.truncate(folder / "data/data1.npy", 99_999)
    with pytest.raises(DataError, match="delete it to have it made again"):
        check(["Style_A"], context(tmp_path, None, made))


def test_a_foreign_manifest_does_not_cost_anybody_their_data(
    tmp_path: Path, inside: Callable[..., tuple[int, str, str]]
) -> None:
    """`manifest.json` is a name that others use, too."""
    folder = build(tmp_path)
    (folder / "manifest.json").write_text('{"name": "a download"}')
    assert look(tmp_path).ok, "where real files are expected, it means nothing"
    code, out, _ = inside("data", "check", tmp_path)
    assert code == 1
    assert "move this one file away" in out
    assert "delete" not in out
    layout = track_file(tmp_path, TINY)
    assert inside("data", "check", tmp_path, "--track", layout)[0] == 0


def test_manifests_that_are_not_what_they_seem(tmp_path: Path) -> None:
    made = Data(source="generated", train=3, test=2, samples_per_file=2)
    folder = make_folder("Style_A", context(tmp_path, None, made))
    renamed = folder.rename(folder.with_name("Style_B"))
    with pytest.raises(DataError, match="these are files of Style_A"):
        check(["Style_B"], context(tmp_path, None, made))
    for spoil in (os.mkfifo, lambda path: path.write_bytes(b"[" * 100_000)):
        (renamed / "manifest.json").unlink()
        spoil(renamed / "manifest.json")
        with pytest.raises(DataError, match="is not a manifest of this program"):
            check(["Style_B"], context(tmp_path, None, made))
