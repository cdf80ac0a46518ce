"""`bench data stats` and `bench data show`: the numbers and pictures of samples."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Inside
from data_folders import MAPS, TINY, alter, build, samples, track_file
from PIL import Image
from skimage.filters import sobel

from bench.protocol.spec import Data

GENERATED = Data(source="generated", train=3, test=2, samples_per_file=2)


@pytest.fixture
def run(inside: Inside) -> Inside:
    """Runs ``bench data …`` in this process."""
    return partial(inside, "data")


def test_statistics_are_those_of_numpy_and_scikit_image(tmp_path: Path, run: Inside) -> None:
    build(tmp_path)
    code, out, _ = run("stats", tmp_path, "--track", track_file(tmp_path, TINY), "--json")
    assert code == 0
    (row,) = json.loads(out)["datasets"]
    maps, records = (array.astype(np.float64) for array in samples())
    shots = records.swapaxes(0, 1).reshape(5, -1)
    expected: dict[str, Any] = {
        "samples": 6,
        "pressure_mean": shots.mean(axis=1),
        "pressure_std": shots.std(axis=1),
        "pressure_min": shots.min(axis=1),
        "pressure_max": shots.max(axis=1),
        "velocity_mean_mps": maps.mean(),
        "velocity_std_mps": maps.std(),
        "velocity_min_mps": maps.min(),
        "velocity_max_mps": maps.max(),
        "spatial_information_mps": np.mean([sobel(m[0]) for m in maps]),
        "mean_map_mae": np.abs(maps[4:] - maps[:4].mean(axis=0)).mean() / 1500,
    }
    assert row.pop("dataset") == "FlatVel_A"
    assert row.keys() == expected.keys()
    for name, value in expected.items():
        assert row[name] == pytest.approx(value, rel=1e-6, abs=1e-9), name
    code, out, _ = run("stats", tmp_path, "--track", track_file(tmp_path, TINY), "--samples", 3)
    assert code == 0
    assert "Spatial information: mean Sobel gradient magnitude" in out


def test_statistics_of_damaged_or_absent_data(tmp_path: Path, run: Inside) -> None:
    code, _, error = run("stats", tmp_path)
    assert code == 2
    assert "holds no dataset" in error
    alter(build(tmp_path) / MAPS, (0, 0, 0, 0), np.nan)
    code, _, error = run("stats", tmp_path, "--track", track_file(tmp_path, TINY))
    assert code == 2
    assert "model3.npy: sample 0 holds NaN" in error


@pytest.mark.exhaustive
def test_show_draws_the_same_picture_from_files_and_on_the_spot(
    tmp_path: Path, run: Inside
) -> None:
    layout = track_file(tmp_path, GENERATED)
    made_home, empty_home = tmp_path / "made", tmp_path / "empty"
    assert run("make", "-t", layout, "--home", made_home, "-d", "CurveFault_B")[0] == 0
    pictures = []
    empty_home.mkdir()
    for home in (made_home, empty_home):
        out = tmp_path / f"{home.name}.png"
        words = ("--track", layout, "--home", home, "--split", "train", "-n", 2, "-o", out)
        assert run("show", "CurveFault_B", *words)[0] == 0
        with Image.open(out) as image:
            pictures.append(np.asarray(image))
    made, simulated = (picture[70:] for picture in pictures)  # titles say where they come from
    assert made.shape == simulated.shape
    assert np.array_equal(made, simulated)
    assert len(np.unique(made.reshape(-1, 3), axis=0)) > 100


def test_show_draws_real_files_and_colours_follow_the_velocity(tmp_path: Path, run: Inside) -> None:
    """Where the lower half of a map becomes fast, and only there, the picture becomes lighter."""
    folder = build(tmp_path)
    words = ("show", "FlatVel_A", tmp_path, "--track", track_file(tmp_path, TINY), "-n", 1)
    maps = np.load(folder / MAPS)
    pictures = []
    for name, lower in (("slow", 1500), ("fast", 4500)):
        maps[:, :, :35], maps[:, :, 35:] = 1500, lower
        np.save(folder / MAPS, maps)
        assert run(*words, "-o", tmp_path / f"{name}.png")[0] == 0
        with Image.open(tmp_path / f"{name}.png") as image:
            pictures.append(np.asarray(image.convert("L")).astype(int)[115:])  # below the caption
    slow, fast = pictures
    changed = np.argwhere(slow != fast)
    height, width = np.ptp(changed, axis=0) + 1
    assert width == pytest.approx(2 * height, abs=4)
    assert len(changed) == height * width
    assert (fast[slow != fast] > 200).all()
    assert (slow[slow != fast] < 60).all()


def test_show_says_what_is_wrong(tmp_path: Path, run: Inside) -> None:
    assert "Did you mean 'Style_" in run("show", "Style_C", "--home", tmp_path)[2]
    assert "choose train or test" in run("show", "Style_A", "--split", "x", "--home", tmp_path)[2]
    code, _, error = run("show", "style-a", tmp_path)
    assert code == 2
    assert "there is no folder of Style_A" in error
