"""Per-sample scores beside a record: a test set at a time, none twice, older files readable."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bench.protocol.spec import CLEAN, TestSet
from bench.records import maps, scores
from bench.records.record import MAPS_FILE, SCORES_FILE

STYLE_A, STYLE_B = TestSet(dataset="Style_A"), TestSet(dataset="Style_B")
HELD_OUT = TestSet(dataset="Style_A", split="validation")
NOISY = TestSet(dataset="Style_A", condition="noise_10db")
EACH = (STYLE_A, STYLE_B, HELD_OUT, NOISY)


def values(*numbers: float) -> NDArray[np.float32]:
    return np.array(numbers, dtype=np.float32)


def stored(folder: Path, column: str = "mae") -> dict[TestSet, list[float | None]]:
    """Values by test set, in the order of samples."""
    table = scores.read(folder / SCORES_FILE)
    found: dict[TestSet, list[float | None]] = {}
    for row in table.iter_rows(named=True):
        test = TestSet(dataset=row["dataset"], split=row["split"], condition=row["condition"])
        assert row["sample"] == len(found.setdefault(test, []))
        found[test].append(row[column])
    return found


def test_one_table_has_a_row_for_each_test_set_and_sample(tmp_path: Path) -> None:
    new = {"mae": values(0.25, 0.5), "edge": values(1.0, np.nan)}
    scores.update(tmp_path, {STYLE_A: new, HELD_OUT: {"mae": values(0.75), "edge": values(0.0)}})
    table = pl.read_parquet(tmp_path / SCORES_FILE)
    assert table.rows() == [
        ("Style_A", "test", "clean", 0, 0.25, 1.0),
        ("Style_A", "test", "clean", 1, 0.5, None),
        ("Style_A", "validation", "clean", 0, 0.75, 0.0),
    ]
    assert table.columns == [*scores.KEYS, "mae", "edge"]


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(EACH),
            st.lists(st.floats(0, 1, width=32), min_size=1, max_size=4),
            min_size=1,
        ),
        max_size=6,
    )
)
def test_new_scores_replace_those_of_the_test_sets_named_and_no_others(
    tmp_path_factory: pytest.TempPathFactory, steps: list[dict[TestSet, list[float]]]
) -> None:
    folder, expected = tmp_path_factory.mktemp("run"), {}
    for step in steps:
        scores.update(folder, {test: {"mae": values(*numbers)} for test, numbers in step.items()})
        expected |= step
    if steps:
        assert stored(folder) == expected


def test_a_metric_that_old_scores_lack_is_null_for_them(tmp_path: Path) -> None:
    scores.update(tmp_path, {STYLE_A: {"mae": values(0.25)}, STYLE_B: {"mae": values(0.5)}})
    scores.update(tmp_path, {STYLE_A: {"mae": values(0.125), "new": values(7)}})
    assert stored(tmp_path) == {STYLE_B: [0.5], STYLE_A: [0.125]}
    assert stored(tmp_path, "new") == {STYLE_B: [None], STYLE_A: [7.0]}


def test_new_scores_are_added_to_a_file_of_schema_1(tmp_path: Path) -> None:
    old = {"dataset": ["Style_A"], "part": ["test"], "sample": [0], "mae": [0.25], "mse": [0.5]}
    pl.DataFrame(old, schema_overrides={"sample": pl.Int32, "mae": pl.Float32}).write_parquet(
        tmp_path / SCORES_FILE
    )
    assert stored(tmp_path) == {STYLE_A: [0.25]}
    scores.update(tmp_path, {STYLE_B: {"mae": values(0.5)}})
    assert stored(tmp_path) == {STYLE_A: [0.25], STYLE_B: [0.5]}
    assert stored(tmp_path, "mse") == {STYLE_A: [0.5], STYLE_B: [None]}
    assert set(scores.read(tmp_path / SCORES_FILE)["condition"]) == {CLEAN}


def test_a_damaged_file_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / SCORES_FILE).write_bytes(b"no scores")
    with pytest.raises(pl.exceptions.PolarsError):
        scores.update(tmp_path, {STYLE_A: {"mae": values(1)}})
    assert (tmp_path / SCORES_FILE).read_bytes() == b"no scores"


# --- maps -----------------------------------------------------------------------------------------


def pair(level: int, count: int = 2) -> maps.Kept:
    truth = np.full((count, 70, 70), level, dtype=np.uint16)
    return maps.Kept(np.arange(count, dtype=np.int32), truth, truth + 1)


def test_the_first_maps_and_the_worst_one_by_hand() -> None:
    truth = np.full((4, 70, 70), 2000, dtype=np.uint16)
    prediction = truth.copy()
    prediction[1, :35] -= 30  # half of the cells: 15 m/s
    prediction[2] += 20
    prediction[3, :7] += 100  # a tenth: 10 m/s
    kept = maps.Kept(np.array([0, 1, 2, 90], dtype=np.int32), truth, prediction)
    assert kept.errors_mps().tolist() == [0, 15, 20, 10]
    assert kept.first(2).samples.tolist() == [0, 1, 2]
    assert kept.first(3).samples.tolist() == [0, 1, 2]
    assert kept.first(0).samples.tolist() == [2]


def test_new_maps_replace_those_of_the_datasets_named_and_no_others(tmp_path: Path) -> None:
    maps.update(tmp_path, {})
    assert not (tmp_path / MAPS_FILE).exists(), "a file without maps is not written"
    maps.update(tmp_path, {"Style_A": pair(1500), "Style_B": pair(2000)})
    maps.update(tmp_path, {"Style_A": pair(3000, count=3)})
    with np.load(tmp_path / MAPS_FILE) as file:
        assert set(file) == {
            f"{dataset}.{kind}"
            for dataset in ("Style_A", "Style_B")
            for kind in ("sample", "truth", "prediction")
        }
        assert file["Style_A.sample"].tolist() == [0, 1, 2]
        assert file["Style_A.truth"].shape == (3, 70, 70)
        for name, level in (("Style_A", 3000), ("Style_B", 2000)):
            assert (file[f"{name}.truth"] == level).all()
            assert (file[f"{name}.prediction"] == level + 1).all()
            assert file[f"{name}.prediction"].dtype == np.uint16
