"""Per-sample scores as the report reads them, whatever the order of rows in their files."""

from pathlib import Path

import factory
import numpy as np
import polars as pl
import pytest

from bench.protocol.spec import TARGETS
from bench.records.record import SCORES_FILE
from leaderboard.load import results
from leaderboard.load.results import Results
from leaderboard.load.samples import SampleScores

pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No published records."""
    monkeypatch.setattr("leaderboard.load.records.PUBLISHED", tmp_path / "none")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    factory.populate(
        tmp_path / "home",
        (factory.FFT, factory.LORA),
        seeds=(0,),
        percents=(100,),
        targets=TARGETS[:2],
        pretraining=False,
        maps=False,
    )
    return tmp_path / "home"


def file(home: Path) -> Path:
    return min((home / "runs").iterdir()) / SCORES_FILE


def by_cell(found: Results) -> dict[tuple[str, ...], list[float]]:
    """MAE of the samples of each cell."""
    rows = found.samples.cells.iter_rows(named=True)
    mae = found.samples.values["mae"]
    return {
        (row["run_id"], row["dataset"], row["split"], row["condition"]): mae[
            row["first"] : row["first"] + row["count"]
        ].tolist()
        for row in rows
    }


def test_values_are_those_of_the_files(home: Path) -> None:
    found = by_cell(results.read([home]))
    assert len(found) == 4 * 4
    for folder in (home / "runs").iterdir():
        table = pl.read_parquet(folder / SCORES_FILE)
        for key, part in table.partition_by("dataset", "split", "condition", as_dict=True).items():
            expected = part.sort("sample")["mae"].to_list()
            assert found[(folder.name, *map(str, key))] == expected


def test_the_order_of_rows_does_not_matter(home: Path) -> None:
    before = by_cell(results.read([home]))
    pl.read_parquet(file(home)).sample(fraction=1, shuffle=True, seed=1).write_parquet(file(home))
    found = results.read([home])
    assert found.problems == []
    assert by_cell(found) == before


def test_a_sample_that_occurs_twice_is_a_problem(home: Path) -> None:
    """The means agree, so only the numbers of the samples tell."""
    table = pl.read_parquet(file(home))
    table.with_columns(sample=pl.col("sample").replace(1, 0)).write_parquet(file(home))
    found = results.read([home])
    assert [problem.path for problem in found.problems] == [file(home)]
    assert file(home).parent.name not in {run for run, *_ in by_cell(found)}


def test_clean_values_leave_out_conditions_and_what_is_undefined(home: Path) -> None:
    found = results.read([home]).samples
    mae = found.values["mae"].copy()
    first = found.cells.row(0, named=True)
    mae[first["first"]] = np.nan
    changed = SampleScores(found.cells, {**found.values, "mae": mae})
    one = changed.clean("mae")[first["run_id"]][first["dataset"]]
    assert one.tolist() == mae[first["first"] + 1 : first["first"] + first["count"]].tolist()
    noisy = found.cells.with_columns(condition=pl.lit("noise_10db"))
    assert SampleScores(noisy, found.values).clean("mae") == {}
