"""The release's files and split, the spellings of its folders, tracks with their own sizes."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.data import layout
from bench.errors import DataError, UnknownNameError
from bench.protocol.spec import DATASETS, Data

OFFICIAL = Data(source="files")


def size(dataset: str, split: layout.Split, data: Data) -> int:
    return sum(pair.samples for pair in layout.files(dataset, split, data))


@pytest.mark.parametrize(
    ("family", "train", "test"),
    [("Vel", 24_000, 6_000), ("Fault", 48_000, 6_000), ("Style", 60_000, 7_000)],
)
def test_the_official_split(family: str, train: int, test: int) -> None:
    for dataset in (name for name in DATASETS if family in name):
        assert size(dataset, "train", OFFICIAL) == train
        assert size(dataset, "test", OFFICIAL) == test


def test_the_release_has_470_000_samples_in_files_of_500() -> None:
    pairs = [pair for name in DATASETS for pair in layout.all_files(name, OFFICIAL)]
    assert sum(pair.samples for pair in pairs) == 470_000
    assert {pair.samples for pair in pairs} == {500}


def test_names_of_the_release() -> None:
    vel = layout.files("CurveVel_B", "test", OFFICIAL)
    assert (vel[0].records, vel[0].maps) == ("data/data49.npy", "model/model49.npy")
    assert vel[-1].records == "data/data60.npy"
    style = layout.files("Style_A", "train", OFFICIAL)
    assert (style[0].records, style[-1].maps) == ("data/data1.npy", "model/model120.npy")
    fault = layout.files("FlatFault_B", "train", OFFICIAL)
    assert {pair.layers for pair in fault} == {6, 7, 8}
    assert (fault[0].records, fault[0].maps) == ("seis6_1_0.npy", "vel6_1_0.npy")
    assert layout.files("CurveFault_A", "test", OFFICIAL)[-1].records == "seis4_1_35.npy"


@given(st.sampled_from(DATASETS), st.integers(1, 40), st.integers(1, 12), st.integers(1, 7))
def test_own_sizes_are_kept_and_the_split_is_clean(
    dataset: str, train: int, test: int, per_file: int
) -> None:
    data = Data(source="generated", train=train, test=test, samples_per_file=per_file)
    assert (size(dataset, "train", data), size(dataset, "test", data)) == (train, test)
    pairs = layout.all_files(dataset, data)
    assert all(1 <= pair.samples <= per_file for pair in pairs)
    assert len({pair.records for pair in pairs}) == len({pair.maps for pair in pairs}) == len(pairs)
    assert all(pair.generated for pair in pairs)
    real = layout.all_files(dataset, data.model_copy(update={"source": "files"}))
    single = {"generated": False, "record_types": ("<f4",)}
    assert real == tuple(replace(pair, **single) for pair in pairs)


@pytest.mark.parametrize("source", ["generated", "files"])
def test_one_size_alone_is_refused(source: str) -> None:
    with pytest.raises(DataError, match=r"data\.train and data\.test"):
        layout.files("Style_A", "train", Data.model_validate({"source": source, "train": 4}))


@pytest.mark.parametrize(
    "spelling", ["FlatVel_A", "flatvel-a", "FlatVel-A", "flatvel_a", "FLATVEL_A", "flatvelA"]
)
def test_spellings_of_folders(tmp_path: Path, spelling: str) -> None:
    for name in (spelling, "FlatVel_B", "CurveVel_A", "flatvel-a.zip.d"):
        (tmp_path / name).mkdir()
    (tmp_path / "flatvel_a.txt").touch()
    assert layout.folder(tmp_path, "FlatVel_A") == tmp_path / spelling
    assert layout.dataset_named(spelling) == "FlatVel_A"


def test_an_absent_folder(tmp_path: Path) -> None:
    (tmp_path / "Style_A").touch()  # a file, not a folder
    assert layout.find_folder(tmp_path, "Style_A") is None
    with pytest.raises(DataError, match="Style_A: the folder is missing"):
        layout.folder(tmp_path, "Style_A")
    with pytest.raises(DataError, match="cannot be read"):
        layout.folder(tmp_path / "nowhere", "Style_A")


def test_two_folders_of_one_dataset(tmp_path: Path) -> None:
    for name in ("Style_A", "style-a"):
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match="Style_A and style-a are both Style_A"):
        layout.folder(tmp_path, "Style_A")


def test_an_unknown_dataset(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'FlatVel_A'"):
        layout.folder(tmp_path, "FlatVell_A")
