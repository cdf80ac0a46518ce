"""Real files that are not the official release: used through a track, or refused with advice."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from data_folders import build, samples

from bench.data import inventory, layout
from bench.data.inspection import inspect
from bench.data.reader import Samples
from bench.errors import ConfigError, DataError
from bench.models import backbones
from bench.progress import Silent
from bench.protocol import fingerprint, tracks
from bench.protocol.spec import DATASETS, Data, Track

pytestmark = pytest.mark.usefixtures("simulated_once")

Inside = Callable[..., tuple[int, str, str]]
LIKE = tracks.load("openfwi")


def kaggle(root: Path, *datasets: str, kind: str = "<f4", flat: bool = False) -> Path:
    """As the Kaggle edition has them, with three samples a file: two files a dataset."""
    maps, records = samples()
    shape = (3, 70, 70) if flat else (3, 1, 70, 70)
    for dataset in datasets:
        counts = layout.layer_counts(dataset)
        for number in (0, 1):
            name = f"data/data{number + 1}.npy"
            if counts:
                name = f"seis{counts[0] if number == 0 else counts[-1]}_1_0.npy"
            here = slice(3 * number, 3 * number + 3)
            for file, array in (
                (name, records[here]),
                (layout.maps_of(name), maps[here].reshape(shape)),
            ):
                path = root / "train_samples" / dataset / file
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, array.astype(kind))
    return root


def look(root: Path, dataset: str, data: Data) -> list[str]:
    device = torch.device("cpu")
    report = inspect(root, dataset, data, device=device, progress=Silent())
    return list(map(str, report.errors))


def read(root: Path, dataset: str, data: Data) -> tuple[Samples, Samples]:
    folder = layout.folder(root, dataset)
    train, test = (Samples(folder, layout.files(dataset, s, data)) for s in layout.SPLITS)
    return train, test


@pytest.mark.parametrize("dataset", ["FlatVel_A", "CurveFault_A", "CurveFault_B", "Style_B"])
def test_the_kaggle_edition_through_a_track(tmp_path: Path, dataset: str) -> None:
    """Two of three samples of each file train, the last one tests; folders are found."""
    root = kaggle(tmp_path, dataset)
    track = inventory.track(root, LIKE, name="mine", test_percent=40)
    maps, records = samples()
    train, test = read(root, dataset, track.data)
    assert (len(train), len(test)) == (4, 2)
    assert layout.size(dataset, "train", track.data) == 4 == track.data.train_samples(dataset)
    for split, rows in ((train, [0, 1, 3, 4]), (test, [2, 5])):
        every = np.arange(len(rows))
        assert np.array_equal(split.maps(every), maps[rows])
        assert np.array_equal(split.records(every), records[rows])
    assert look(root, dataset, track.data) == []


@pytest.mark.parametrize("kind", ["<f2", "<f8"])
@pytest.mark.parametrize("flat", [False, True])
def test_other_precisions_and_flat_maps(tmp_path: Path, kind: str, flat: bool) -> None:
    root = kaggle(tmp_path, "FlatVel_B", kind=kind, flat=flat)
    track = inventory.track(root, LIKE, name="mine", test_percent=20)
    maps, records = samples()
    train, _ = read(root, "FlatVel_B", track.data)
    got = train.maps(np.arange(4))
    assert got.shape == (4, 1, 70, 70)
    assert got.dtype == np.float32
    assert np.allclose(got, maps[[0, 1, 3, 4]], atol=2)  # of 16 bits
    assert np.allclose(train.records(np.arange(4)), records[[0, 1, 3, 4]], rtol=1e-3, atol=1e-2)
    assert look(root, "FlatVel_B", track.data) == []


def test_a_copied_sample_is_found_in_a_split_file(tmp_path: Path) -> None:
    root = kaggle(tmp_path, "FlatVel_A")
    track = inventory.track(root, LIKE, name="mine", test_percent=20)
    for name in ("data/data2.npy", "model/model2.npy"):
        path = root / "train_samples/FlatVel_A" / name
        array = np.load(path)
        array[2] = array[0]
        np.save(path, array)
    (error,) = look(root, "FlatVel_A", track.data)
    assert "sample 2 has the same" in error


def test_the_split_is_in_the_fingerprint_and_in_the_file(tmp_path: Path) -> None:
    root = kaggle(tmp_path, "FlatVel_A", "CurveFault_A")
    network = backbones.spec("inversionnet")
    split = [inventory.track(root, LIKE, name="openfwi", test_percent=p) for p in (20, 40)]
    prints = {fingerprint.fingerprint(track, network) for track in split}
    shutil.rmtree(root / "train_samples/CurveFault_A")
    fewer = inventory.track(root, LIKE, name="openfwi", test_percent=20)
    prints |= {fingerprint.fingerprint(track, network) for track in (fewer, LIKE)}
    assert len(prints) == 4
    (tmp_path / "openfwi.toml").write_text(inventory.toml(split[0]), encoding="utf-8")
    assert tracks.load(str(tmp_path / "openfwi.toml")) == split[0]


def test_the_order_of_files_in_a_track_means_nothing() -> None:
    """It is not in the fingerprint, so it must not number the samples."""
    names = [f"data/data{number}.npy" for number in (10, 2, 1)]
    data = Data(source="files", files={"FlatVel_A": dict.fromkeys(names, 4)}, test_percent=25)
    pairs = layout.files("FlatVel_A", "train", data)
    assert [pair.records for pair in pairs] == [f"data/data{n}.npy" for n in (1, 2, 10)]


def test_from_found_files_to_a_plan(tmp_path: Path, inside: Inside) -> None:
    root = kaggle(tmp_path / "files", *DATASETS)
    mine, home = tmp_path / "mine.toml", tmp_path / "home"
    words = ("run", "-m", "fft", "--data", root, "--home", home, "--dry-run", "--quiet")
    code, _, error = inside(*words, "--track", "openfwi")
    assert code == 2
    assert "FlatVel_B has 2 usable files of records with 6 samples here; 60 with 30,000" in error
    assert f"bench data track {root}" in error
    assert "delete" not in error
    code, out, _ = inside("data", "check", root, "-d", "FlatVel_A")
    assert code == 1
    assert "bench data track" in out
    code, out, _ = inside("data", "track", root, "--out", mine)
    assert code == 0
    assert "CurveFault_B: 4 + 2 samples" in out
    code, out, error = inside(*words, "--track", mine, "-b", "inversionnet_quarter")
    assert code == 0, error
    assert "pretrain 1 foundation" in out + error
    code, out, _ = inside("data", "check", root, "--track", mine, "-d", "FlatVel_A", "--thorough")
    assert code == 0, out


def test_what_a_track_does_not_name_is_not_looked_at(tmp_path: Path, inside: Inside) -> None:
    root = kaggle(tmp_path, "FlatVel_A")
    assert inside("data", "track", root, "--out", tmp_path / "mine.toml")[0] == 0
    kaggle(tmp_path, "Style_A", kind="<i4")
    code, out, error = inside("data", "check", root, "--track", tmp_path / "mine.toml")
    assert code == 0, out + error
    assert out.count("not there") == 9


def test_a_track_is_not_written_over_another_file(tmp_path: Path, inside: Inside) -> None:
    root = kaggle(tmp_path, "FlatVel_A")
    there = tmp_path / "there.toml"
    there.write_text("mine")
    for out, message in ((there, "is there already"), (tmp_path / "x.txt", "does not end in")):
        code, _, error = inside("data", "track", root, "--out", out)
        assert code == 2
        assert message in error
    assert there.read_text() == "mine"
    (tmp_path / "empty").mkdir()
    code, _, error = inside("data", "track", tmp_path / "empty", "--out", tmp_path / "e.toml")
    assert code == 2
    assert "holds no dataset's files" in error


def test_damaged_files_are_no_other_edition(tmp_path: Path) -> None:
    """What is not usable is not counted, and where nothing is usable there is no advice."""
    folder = build(tmp_path)
    (folder / "data/data1.npy").write_bytes(b"\x93NUMPY")
    (folder / "model/model2.npy").unlink()
    assert inventory.found(folder) == {"data/data3.npy": 2}
    (folder / "data/data3.npy").unlink()
    assert inventory.advice(tmp_path, "FlatVel_A", Data(source="files")) is None


BAD = {
    "a way out": ('{"../../etc/x.npy" = 5}', "test_percent = 20", "should match pattern"),
    "an absolute path": ('{"/etc/x.npy" = 5}', "test_percent = 20", "should match pattern"),
    "one sample": ('{"data/data1.npy" = 1}', "test_percent = 20", "greater than or equal to 2"),
    "no split": ('{"data/data1.npy" = 5}', "", "belong together"),
    "nothing to test": ('{"data/data1.npy" = 5}', "test_percent = 0", "greater than or equal"),
    "two sizes": ('{"data/data1.npy" = 5}', "test_percent = 20\ntrain = 3", "their own sizes"),
}


@pytest.mark.parametrize("name", BAD)
def test_tracks_that_split_in_no_sensible_way(tmp_path: Path, name: str) -> None:
    files, rest, message = BAD[name]
    path = tmp_path / "t.toml"
    budget = "epochs = 1\nbatch = 2\n"
    path.write_text(
        f'name = "t"\nversion = 1\nsummary = ""\n[pretrain]\n{budget}[fit]\n{budget}'
        f'[data]\nsource = "files"\n{rest}\n[data.files]\nFlatVel_A = {files}\n'
    )
    with pytest.raises(ConfigError, match=message):
        tracks.load(str(path))


def test_a_track_without_a_dataset_says_so() -> None:
    data = Data(source="files", files={"FlatVel_A": {"data/data1.npy": 4}}, test_percent=25)
    track = Track.model_validate(LIKE.model_dump() | {"data": data})
    with pytest.raises(DataError, match="names no files of Style_A"):
        layout.files("Style_A", "train", track.data)
