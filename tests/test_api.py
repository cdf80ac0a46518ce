"""The Python API on runs that the command has made, and on published ones."""

from pathlib import Path
from typing import Any

import homes
import numpy as np
import polars as pl
import pytest
import torch

from bench.api import load_run
from bench.errors import FoundationError, RecordError, UnknownNameError
from bench.records.record import FOUNDATION_FILE, SCORES_FILE, Record
from bench.seismic.scaling import scale_maps, scale_records

Ran = tuple[Path, Any]


def recorded(home: Path, method: str, dataset: str) -> Record:
    """The record of a method's fit on a dataset."""
    records = homes.records(home, method).values()
    return next(record for record in records if record.spec.datasets[0] == dataset)


def read_test_samples(home: Path, dataset: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The two test samples, which are the last of a generated dataset; read with numpy alone."""
    (folder,) = home.glob(f"data/*/{dataset}")
    records, maps = (
        np.concatenate([np.load(path) for path in sorted(folder.glob(f"{part}/*.npy"))])[-2:]
        for part in ("data", "model")
    )
    return scale_records(torch.from_numpy(records).float()), scale_maps(torch.from_numpy(maps))


@pytest.mark.parametrize("method", ["fft", "lora"])
def test_the_network_of_a_run_predicts_what_was_scored(ran: Ran, method: str) -> None:
    home, _ = ran
    run = load_run(recorded(home, method, "CurveFault_B").run_id, home)
    x, y = read_test_samples(home, "Style_A")
    with torch.no_grad():
        errors = (run.network()(x) - y).abs().mean(dim=(1, 2, 3)).numpy()
    scores = run.scores().filter(pl.col("dataset") == "Style_A").sort("sample")
    # Records are in half precision while a run scores them
    np.testing.assert_allclose(scores["mae"].to_numpy(), errors, rtol=2e-3)


def test_scores_give_the_means_of_the_record(ran: Ran) -> None:
    home, _ = ran
    run = load_run(recorded(home, "lora", "Style_B").run_id[:10], home)
    means = run.scores().group_by("dataset").agg(pl.col("mae").mean(), pl.col("mse").mean().sqrt())
    by_dataset = {dataset: (mae, rmse) for dataset, mae, rmse in means.iter_rows()}
    assert by_dataset.keys() == {"FlatVel_B", "CurveFault_B", "Style_A"}
    for cell in run.record.cells:
        expected = (cell.scores["mae"], cell.scores["rmse"])
        assert by_dataset[cell.test_set.dataset] == pytest.approx(expected, rel=1e-6)


def test_a_foundation_is_a_run_too(ran: Ran) -> None:
    home, _ = ran
    (path,) = home.glob(f"foundations/*/{FOUNDATION_FILE}")
    foundation = load_run(path.parent).network().state_dict()
    untouched = load_run(recorded(home, "none", "Style_A").run_id, home).network().state_dict()
    assert foundation.keys() == untouched.keys()
    assert all(torch.equal(value, untouched[name]) for name, value in foundation.items())


def test_a_published_run_has_scores_but_no_weights(unpublished: Path) -> None:
    run = load_run(min(unpublished.glob("mini/*/record.json")).parent)
    assert run.scores().height == sum(cell.samples for cell in run.record.cells)
    with pytest.raises(FoundationError, match=f"bench replay {run.record.run_id}"):
        run.network()


def test_what_is_missing_is_named(ran: Ran, tmp_path: Path) -> None:
    home, _ = ran
    with pytest.raises(UnknownNameError):
        load_run("0000000000000000", home)
    record = recorded(home, "fft", "Style_A")
    homes.copy(home, tmp_path, "runs")
    (tmp_path / "runs" / record.run_id / SCORES_FILE).unlink()
    run = load_run(record.run_id, tmp_path)
    with pytest.raises(RecordError, match="scores cannot be read"):
        run.scores()
    with pytest.raises(FoundationError, match="name its file"):
        run.network()
    (foundation,) = home.glob(f"foundations/*/{FOUNDATION_FILE}")
    assert not run.network(foundation).training
