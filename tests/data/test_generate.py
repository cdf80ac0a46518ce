"""Generated files: OpenFWI's layout, whole or absent, the same after any interruption."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bench.data import generate, layout, manifest
from bench.data.reader import Samples
from bench.errors import DataError, HomeError
from bench.protocol.spec import Data
from bench.seismic import simulation

CPU = torch.device("cpu")
DATA = Data(source="generated", train=5, test=2, samples_per_file=2)
DATASET = "FlatFault_A"

MAKE = """
import sys, torch
from pathlib import Path
from bench.data import generate
from bench.protocol.spec import Data
torch.set_num_threads(1)
data = Data.model_validate_json(sys.argv[2])
root, dataset, cpu = Path(sys.argv[1]), sys.argv[3], torch.device("cpu")
generate.make(root, dataset, data, device=cpu, advance=lambda n: None)
"""


def make(root: Path, dataset: str = DATASET, data: Data = DATA) -> int:
    """How many samples were simulated."""
    done: list[int] = []
    generate.make(root, dataset, data, device=CPU, advance=done.append)
    return sum(done)


def contents(root: Path) -> dict[str, str]:
    """SHA-256 of every file, hidden ones too."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tests leave it as it is."""
    root = tmp_path_factory.mktemp("made")
    assert generate.missing(root, DATASET, DATA) == 7
    assert make(root) == 7
    return root


def test_files_are_those_of_the_layout_and_of_numpy(made: Path) -> None:
    expected = {n for p in layout.all_files(DATASET, DATA) for n in (p.records, p.maps)}
    assert {f"{DATASET}/{name}" for name in expected} | {f"{DATASET}/manifest.json"} == set(
        contents(made)
    )
    maps = np.load(made / DATASET / "vel2_1_0.npy")
    records = np.load(made / DATASET / "seis2_1_0.npy")
    assert (maps.shape, records.shape) == ((2, 1, 70, 70), (2, 5, 1000, 70))
    assert (maps.dtype, records.dtype) == (np.float32, np.float16)
    assert 1500 <= maps.min() < maps.max() <= 4500
    exact = simulation.simulate(torch.from_numpy(maps[:, 0])).numpy()
    assert np.array_equal(exact.astype(np.float16), records)
    # Half precision has 11 significant bits, and steps of 2^-24 where it runs out of exponents
    np.testing.assert_allclose(records.astype(np.float32), exact, rtol=2**-11, atol=2**-25)


def test_records_in_single_precision_are_still_read(made: Path, tmp_path: Path) -> None:
    """Homes made by earlier versions hold them."""
    folder = tmp_path / DATASET
    for pair in layout.all_files(DATASET, DATA):
        for name in (pair.records, pair.maps):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            np.save(folder / name, np.load(made / DATASET / name).astype(np.float32))
    pairs = layout.files(DATASET, "train", DATA)
    old, new = (Samples(root / DATASET, pairs) for root in (tmp_path, made))
    every = np.arange(len(new))
    assert np.array_equal(old.records(every), new.records(every))
    assert new.records(every).dtype == np.float32


def test_manifest_holds_the_hashes_and_the_content_hash_follows_them(made: Path) -> None:
    stored = json.loads((made / DATASET / manifest.FILE).read_text())
    files = {f"{DATASET}/{name}": value for name, value in stored["sha256"].items()}
    found = contents(made)
    del found[f"{DATASET}/{manifest.FILE}"]
    assert files == found
    assert stored["data"] == DATA.model_dump(mode="json")
    whole = generate.content_hash(made, DATASET)
    assert len(whole) == 64
    changed = manifest.Manifest.model_validate(stored).with_files({"vel2_1_0.npy": "0" * 64})
    assert changed.content_sha256 != whole


def test_a_sample_depends_on_seed_dataset_and_number_only(made: Path, tmp_path: Path) -> None:
    """Not on how many go into a file, nor on what else is made."""
    larger = Data(source="generated", train=2, test=1, samples_per_file=7)
    make(tmp_path, "Style_B", larger)
    smaller = larger.model_copy(update={"samples_per_file": 1})
    make(tmp_path / "other", "Style_B", smaller)
    pools = [
        Samples(root / "Style_B", layout.all_files("Style_B", data))
        for root, data in ((tmp_path, larger), (tmp_path / "other", smaller))
    ]
    everything = np.arange(3)
    maps = [pool.maps(everything) for pool in pools]
    assert np.array_equal(*maps)
    assert np.array_equal(*(pool.records(everything) for pool in pools))
    assert len(np.unique(maps[0].reshape(3, -1), axis=0)) == 3
    (pair, *_) = layout.all_files("Style_B", larger)
    other_seed = generate.velocity_maps("Style_B", pair, seed=1, first=0)
    assert not np.array_equal(other_seed, maps[0][:2])


def test_a_second_call_makes_nothing(made: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    assert generate.missing(made, DATASET, DATA) == 0
    assert make(made) == 0
    assert before == {path: path.stat().st_mtime_ns for path in made.rglob("*")}


def test_a_deleted_file_is_made_again_and_nothing_else(tmp_path: Path) -> None:
    make(tmp_path)
    before = contents(tmp_path)
    untouched = (tmp_path / DATASET / "seis3_1_0.npy").stat().st_mtime_ns
    (tmp_path / DATASET / "vel2_1_0.npy").unlink()
    assert generate.missing(tmp_path, DATASET, DATA) == 2
    assert make(tmp_path) == 2
    assert contents(tmp_path) == before
    assert (tmp_path / DATASET / "seis3_1_0.npy").stat().st_mtime_ns == untouched


def test_a_file_that_the_manifest_does_not_list_is_made_anew(made: Path, tmp_path: Path) -> None:
    """It may be anything: that a file exists does not say what is in it."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    place = tmp_path / DATASET
    listed = json.loads((place / manifest.FILE).read_text())
    for name in ("vel2_1_0.npy", "seis2_1_0.npy"):
        del listed["sha256"][name]
    (place / manifest.FILE).write_text(json.dumps(listed))
    (place / "seis2_1_0.npy").write_bytes(b"half a file")
    assert generate.missing(tmp_path, DATASET, DATA) == 2
    assert make(tmp_path) == 2
    assert contents(tmp_path) == contents(made)


@pytest.mark.exhaustive
def test_killed_at_any_moment_it_goes_on_and_ends_with_the_same_files(
    made: Path, tmp_path: Path
) -> None:
    words = [sys.executable, "-c", MAKE, str(tmp_path), DATA.model_dump_json(), DATASET]
    process = subprocess.Popen(words)
    deadline = time.monotonic() + 120
    while not (tmp_path / DATASET / "seis2_1_0.npy").exists():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    left = generate.missing(tmp_path, DATASET, DATA)
    assert 0 < left < 7
    assert make(tmp_path) == left
    assert contents(tmp_path) == contents(made)


@pytest.mark.slow
def test_a_disk_that_fills_up_stops_with_one_sentence_and_nothing_half_written(
    made: Path, tmp_path: Path
) -> None:
    """A limit on the size of files stands for the full disk: the third write fails."""
    limited = (
        f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000,) * 2)\n{MAKE}"
    )
    words = [sys.executable, "-c", limited, str(tmp_path), DATA.model_dump_json(), DATASET]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("bench.errors.HomeError: Cannot write ")
    assert "File too large" in last
    assert "free space or choose another --home" in last
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == []
    assert make(tmp_path) == 7
    assert contents(tmp_path) == contents(made)


def test_too_little_space_is_said_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    huge = Data(source="generated", train=10**7, test=1, samples_per_file=10**7)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**9))
    with pytest.raises(HomeError, match=r"the data need [\d.]+ GB, [\d.]+ GB are free"):
        make(tmp_path / "new", "Style_A", huge)
    assert not (tmp_path / "new").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(HomeError, match="Cannot write"):
        make(tmp_path)


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / DATASET).mkdir()
    (tmp_path / "Style_A").mkdir()
    (tmp_path / "Style_A" / "data").write_text("in the way")
    with pytest.raises(HomeError, match="Cannot write"):
        make(tmp_path, "Style_A")


def test_a_damaged_manifest(tmp_path: Path) -> None:
    (tmp_path / DATASET).mkdir()
    (tmp_path / DATASET / manifest.FILE).write_text('{"dataset": ')
    with pytest.raises(DataError, match="move this one file away"):
        generate.missing(tmp_path, DATASET, DATA)
    with pytest.raises(DataError, match="bench data make"):
        generate.content_hash(tmp_path, "Style_A")
