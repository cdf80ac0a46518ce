"""Samples are read in place, as numpy would, and damaged files are refused by name."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from data_folders import TINY, alter, build, build_sparse_release, samples

from bench.data import layout
from bench.data.npy import FileError, NpyFile
from bench.data.reader import Samples
from bench.errors import DataError
from bench.protocol.spec import DATASETS, Data


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A FlatVel_A that tests leave as it is."""
    return build(tmp_path_factory.mktemp("sound"))


def train(folder: Path, dataset: str = "FlatVel_A") -> Samples:
    return Samples(folder, layout.files(dataset, "train", TINY))


def test_reads_what_numpy_reads_in_any_order(sound: Path) -> None:
    maps, records = samples()
    read = train(sound)
    assert len(read) == 4
    for order in ([0], [3, 0, 2], [1, 1, 3], [0, 1, 2, 3]):
        indices = np.array(order)
        assert np.array_equal(read.records(indices), records[:4][indices])
        assert np.array_equal(read.maps(indices), maps[:4][indices])
    test = Samples(sound, layout.files("FlatVel_A", "test", TINY))
    assert np.array_equal(test.maps(np.array([1, 0])), maps[[5, 4]])


def test_layer_counts_come_one_after_the_other(tmp_path: Path) -> None:
    maps, _ = samples()
    read = train(build(tmp_path, "FlatFault_B"), "FlatFault_B")
    assert np.array_equal(read.maps(np.arange(4)), maps[:4])


def test_the_whole_release_opens_without_files_or_memory(tmp_path: Path) -> None:
    """470,000 samples, 660 GB: sparse files with the release's names, headers and sizes."""
    build_sparse_release(tmp_path)
    process = psutil.Process()
    files = process.num_fds()
    tracemalloc.start()
    opened = [
        Samples(tmp_path / dataset, layout.files(dataset, split, Data(source="files")))
        for dataset in DATASETS
        for split in layout.SPLITS
    ]
    assert sum(map(len, opened)) == 470_000
    last = opened[0].records(np.array([len(opened[0]) - 1]))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert last.shape == (1, 5, 1000, 70)
    assert peak < 10e6, "one sample has 1.4 MB, one file 700 MB"
    assert process.num_fds() == files


def test_style_maps_may_have_64_bits(tmp_path: Path) -> None:
    maps, _ = samples()
    folder = build(tmp_path, "Style_A")
    np.save(folder / "model/model1.npy", maps[:2].astype(np.float64))
    read = train(folder, "Style_A").maps(np.arange(4))
    assert read.dtype == np.float32
    assert np.array_equal(read, maps[:4])


def wrong_header(path: Path, fault: str) -> None:
    array = np.load(path)
    if fault == "missing":
        path.unlink()
    elif fault == "truncated":
        path.write_bytes(path.read_bytes()[:-1000])
    elif fault == "longer":
        path.write_bytes(path.read_bytes() + b"\0" * 8)
    elif fault == "unreadable":
        path.write_bytes(b"PK\3\4 this is a zip file")
    elif fault == "empty":
        path.write_bytes(b"")
    elif fault == "folder":
        path.unlink()
        path.mkdir()
    elif fault == "pickle":
        np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    elif fault == "dtype":
        np.save(path, array.astype(np.float64))
    elif fault == "integers":
        np.save(path, array.astype(np.int32))
    elif fault == "big endian":
        np.save(path, array.astype(">f4"))
    elif fault == "fortran":
        np.save(path, np.asfortranarray(array))
    elif fault == "shape":
        np.save(path, array[..., :-1])
    elif fault == "count":
        np.save(path, array[:1])


@pytest.mark.parametrize("name", ["data/data1.npy", "model/model2.npy"])
@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        ("missing", "missing"),
        ("truncated", "truncated"),
        ("longer", "truncated"),
        ("unreadable", "unreadable"),
        ("empty", "unreadable"),
        ("folder", "unreadable"),
        ("pickle", "dtype"),
        ("dtype", "dtype"),
        ("integers", "dtype"),
        ("big endian", "dtype"),
        ("fortran", "dtype"),
        ("shape", "shape"),
        ("count", "count"),
    ],
)
def test_a_file_that_is_not_right_is_refused_on_opening(
    tmp_path: Path, name: str, damage: str, fault: str
) -> None:
    folder = build(tmp_path)
    wrong_header(folder / name, damage)
    with pytest.raises(FileError) as caught:
        train(folder)
    assert caught.value.fault == fault
    assert caught.value.path == folder / name
    assert str(caught.value).startswith(f"{folder / name}: ")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite_values_are_refused_with_file_and_sample(tmp_path: Path, value: float) -> None:
    folder = build(tmp_path)
    alter(folder / "data/data2.npy", (1, 3, 500, 7), value)
    alter(folder / "model/model1.npy", (0, 0, 69, 0), value)
    read = train(folder)
    read.records(np.array([0, 1, 2]))  # the others are read
    with pytest.raises(DataError, match=r"data2\.npy: sample 1 holds NaN or infinite values"):
        read.records(np.array([0, 3]))
    with pytest.raises(DataError, match=r"model1\.npy: sample 0 holds NaN"):
        read.maps(np.array([0]))


def in_half_precision(folder: Path, *numbers: int) -> Samples:
    """Training samples of a folder some of whose files of records are rewritten in float16."""
    for number in numbers:
        path = folder / f"data/data{number}.npy"
        np.save(path, np.load(path).astype(np.float16))
    pairs = layout.files("FlatVel_A", "train", TINY)
    return Samples(folder, [replace(pair, record_types=layout.ANY_FLOAT) for pair in pairs])


def test_half_precision_is_read_as_it_is_or_as_float32(tmp_path: Path) -> None:
    _, records = samples()
    expected = records[[3, 0]].astype(np.float16)
    read = in_half_precision(build(tmp_path), 1, 2)
    native = read.records(np.array([3, 0]), native=True)
    single = read.records(np.array([3, 0]))
    assert (native.dtype, single.dtype) == (np.float16, np.float32)
    assert np.array_equal(native, expected)
    assert np.array_equal(single, expected.astype(np.float32))


def test_files_of_both_precisions_are_read_as_float32(tmp_path: Path) -> None:
    _, records = samples()
    found = in_half_precision(build(tmp_path), 2).records(np.array([3, 0]), native=True)
    assert found.dtype == np.float32
    assert np.array_equal(found[0], records[3].astype(np.float16).astype(np.float32))
    assert np.array_equal(found[1], records[0])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("native", [False, True])
def test_not_finite_halves_are_refused(tmp_path: Path, value: float, native: bool) -> None:
    folder = build(tmp_path)
    alter(folder / "data/data1.npy", (0, 3, 500, 7), np.finfo(np.float16).max)
    alter(folder / "data/data2.npy", (1, 3, 500, 7), value)
    read = in_half_precision(folder, 1, 2)
    assert read.records(np.array([0]), native=native).max() == np.finfo(np.float16).max
    with pytest.raises(DataError, match=r"data2\.npy: sample 1 holds NaN or infinite values"):
        read.records(np.array([3]), native=native)


@pytest.mark.parametrize("value", [0.0, 1499.0, 4501.0, -3000.0])
def test_velocities_out_of_range_are_refused(tmp_path: Path, value: float) -> None:
    folder = build(tmp_path)
    alter(folder / "model/model2.npy", (0, 0, 5, 5), value)
    with pytest.raises(DataError, match=r"model2\.npy: sample 0 has velocities from"):
        train(folder).maps(np.array([2]))


def test_a_file_that_shrinks_in_use_raises_and_does_not_kill(tmp_path: Path) -> None:
    folder = build(tmp_path)
    read = train(folder)
    with (folder / "data/data1.npy").open("r+b") as file:
        file.truncate(100_000)
    with pytest.raises(DataError, match=r"data1\.npy: was cut short"):
        read.records(np.array([0]))


def test_sound_samples_have_no_faults(sound: Path) -> None:
    file = NpyFile.open(sound / "data/data1.npy", "records", 2)
    faults, block = file.scan([0, 1])
    assert faults == []
    assert block is not None
    assert np.array_equal(block, np.load(file.path))
