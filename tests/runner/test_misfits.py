"""`bench misfit` on runs with maps: what is written, repeated and refused."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from bench.errors import RecordError
from bench.progress import Silent
from bench.records import maps, misfits
from bench.runner import misfits as runner
from bench.seismic.misfit import misfit, records_of

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    truth = np.full((2, 70, 70), 2000, dtype=np.uint16)
    truth[:, 40:] = 3000
    prediction = (truth + rng.integers(-100, 100, truth.shape)).astype(np.uint16)
    numbers = np.arange(2, dtype=np.int32)
    maps.update(
        tmp_path,
        {
            "FlatVel_B": maps.Kept(numbers, truth, prediction),
            "Style_A": maps.Kept(numbers, truth, truth),
        },
    )
    return tmp_path


def test_misfits_are_written_beside_the_maps_and_not_repeated(folder: Path) -> None:
    assert runner.missing([folder, folder / "no run"]) == [folder]
    runner.measure([folder], CPU, Silent())
    rows = misfits.read(folder)
    assert rows.height == 4
    own = rows.filter(pl.col("dataset") == "Style_A")
    assert own["relative_l2"].to_list() == [0, 0]
    kept = maps.read(folder)["FlatVel_B"]
    expected = misfit(kept.prediction, records_of(kept.truth, CPU), CPU).relative_l2
    assert rows.filter(pl.col("dataset") == "FlatVel_B")["relative_l2"].to_list() == list(expected)
    assert runner.missing([folder]) == []


def test_other_maps_and_another_definition_make_it_missing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner.measure([folder], CPU, Silent())
    monkeypatch.setattr(runner, "VERSION", 99)
    assert runner.missing([folder]) == [folder]
    monkeypatch.undo()
    truth = np.full((1, 70, 70), 2500, dtype=np.uint16)
    maps.update(folder, {"Style_B": maps.Kept(np.zeros(1, dtype=np.int32), truth, truth)})
    assert misfits.read(folder).is_empty()
    assert runner.missing([folder]) == [folder]


def test_unreadable_maps_are_named(folder: Path) -> None:
    (folder / "maps.npz").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(RecordError, match=r"maps\.npz: Maps cannot be read"):
        runner.measure([folder], CPU, Silent())
