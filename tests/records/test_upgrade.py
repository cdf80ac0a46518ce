"""Records of earlier schemas: read through their upgraders, nothing lost, nothing invented."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from old import FOLDER, SCHEMA_1, SCHEMA_1_PRETRAINING, SCHEMA_1_VALIDATION

from bench.errors import RecordError
from bench.models import backbones
from bench.protocol import tracks
from bench.protocol.fingerprint import fingerprint, recorded
from bench.protocol.spec import PRETRAINING, TestSet
from bench.records import scores
from bench.records.reader import read
from bench.records.record import Record, write

ROOT = Path(__file__).parents[2]
PUBLISHED = sorted(
    path.parent
    for path in (ROOT / "leaderboard" / "records").glob("*/*/record.json")
    if json.loads(path.read_text(encoding="utf-8"))["schema_version"] == 1
)
METRICS = ("mae", "rmse", "ssim", "edge")
ONLY_SCORES = {
    *("metrics_version", "ssim_window", "ssim_sigma"),
    *("edge_threshold_mps", "edge_tolerance_cells"),
}
"""What schema 1 took for rules of training."""


def raw(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def leaves(content: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Values by dotted name."""
    found: dict[str, Any] = {}
    for key, value in content.items():
        nested = leaves(value, f"{before}{key}.") if isinstance(value, dict) else None
        found |= {f"{before}{key}": value} if nested is None else nested
    return found


def check(old: dict[str, Any], new: Record) -> None:
    """Whatever a record of schema 1 says is said by the upgraded one."""
    assert (new.schema_version, new.former_id) == (2, old["run_id"])
    assert new.run_id == new.spec.run_id != old["run_id"]
    told = new.model_dump(mode="json")
    for name in ("status", "error", "foundation_sha256", "facts", "resumed"):
        assert told[name] == old[name], name
    for then, now in zip(old["curve"], told["curve"], strict=True):
        assert {key: now[key] for key in then} == then
    for name in ("track", "rules"):
        then, now = leaves(old[name]), leaves(told[name])
        assert {key: now[key] for key in then if key not in ONLY_SCORES} == {
            key: value for key, value in then.items() if key not in ONLY_SCORES
        }
    spec, method = old["spec"], old["spec"]["method"]
    assert (new.spec.track, new.spec.seed) == (spec["track"], spec["seed"])
    assert (new.spec.datasets, new.spec.percent) == (tuple(spec["datasets"]), spec["percent"])
    assert new.spec.backbone.name == spec["backbone"]
    assert new.spec.holdout == (spec["part"] == "validation")
    assert new.spec.kind == ("adaptation" if method else "pretraining")
    if method:
        assert new.spec.method.model_dump() == {k: method[k] for k in method if k != "code"}
        assert new.method_release.code == method["code"]
    assert {
        cell.test_set: (cell.samples, *(cell.scores[name] for name in METRICS))
        for cell in new.cells
    } == {
        TestSet(dataset=cell["dataset"], split=cell["part"]): (
            cell["samples"],
            *(cell[name] for name in METRICS),
        )
        for cell in old["cells"]
    }
    for cell in new.cells:
        assert cell.versions == dict.fromkeys(METRICS, 1)
        assert cell.scores.keys() == set(METRICS)
    hashes = dict(new.data_sha256)
    for evaluation in new.evaluations:
        hashes |= evaluation.data_sha256
    assert hashes == {name: old["data_sha256"][name] for name in hashes}
    assert hashes.keys() == {*spec["datasets"], *(cell["dataset"] for cell in old["cells"])}
    for new_name, old_name in (("cost", "train"), ("counts", "counts")):
        assert without_none(told[new_name]) == without_none(old[old_name])
    for stage in (new.execution, *(evaluation.execution for evaluation in new.evaluations)):
        execution = stage.model_dump(mode="json")
        assert execution.keys() <= old.keys()
        assert all(execution[name] == old[name] for name in execution.keys() - {"command"})


def without_none(facts: dict[str, Any] | None) -> dict[str, Any] | None:
    """What is known; later releases have facts that older ones did not note."""
    return None if facts is None else {k: v for k, v in facts.items() if v is not None}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("schema_1*.json")), ids=lambda path: path.stem)
def test_a_record_of_schema_1_says_the_same(path: Path, tmp_path: Path) -> None:
    record = read(path)
    check(raw(path), record)
    assert read(write(record, tmp_path)) == record


def test_there_is_a_fixture_of_each_kind() -> None:
    fit, pretraining, validation = map(read, (SCHEMA_1, SCHEMA_1_PRETRAINING, SCHEMA_1_VALIDATION))
    assert (fit.spec.kind, fit.spec.holdout, len(fit.cells)) == ("adaptation", False, 4)
    assert (pretraining.spec.kind, pretraining.spec.datasets) == ("pretraining", PRETRAINING)
    assert pretraining.spec.method.name == "foundation"
    assert validation.spec.holdout
    assert {cell.test_set.split for cell in validation.cells} == {"validation"}


def test_every_published_record_is_read_and_keeps_its_old_id_beside_the_new_one() -> None:
    records = {}
    for folder in PUBLISHED:
        record = read(folder / "record.json")
        check(raw(folder / "record.json"), record)
        assert record.former_id == folder.name
        own = recorded(record.track, record.spec.backbone, record.rules, record.simulation)
        assert own == record.spec.fingerprint
        records[record.run_id] = record
    assert len(records) == len(PUBLISHED) == 119
    kinds = [(record.spec.kind, record.spec.holdout) for record in records.values()]
    assert kinds.count(("pretraining", False)) == 1
    assert kinds.count(("adaptation", True)) == 12
    foundation = next(r for r in records.values() if r.spec.kind == "pretraining")
    assert foundation.counts is not None
    assert {r.foundation_sha256 for r in records.values()} == {
        None,
        foundation.counts.adapter_sha256,
    }


def test_old_records_are_on_a_board_of_their_own() -> None:
    """They followed protocol v1: other rules, other generators, so another fingerprint than the
    present one of the same track, and the same for all."""
    old = {read(folder / "record.json").spec.fingerprint for folder in PUBLISHED}
    assert len(old) == 1
    assert fingerprint(tracks.load("mini"), backbones.spec("inversionnet")) not in old
    assert {read(p).rules.version for p in FOLDER.iterdir()} == {1}
    assert {read(p).rules.batchnorm_statistics for p in FOLDER.iterdir()} == {"running"}


def test_old_score_files_have_the_columns_of_the_new_ones() -> None:
    for folder in PUBLISHED:
        table = scores.read(folder / "scores.parquet")
        assert tuple(table.columns[:4]) == scores.KEYS
        for cell in read(folder / "record.json").cells:
            test = cell.test_set
            rows = table.filter(
                pl.col("dataset") == test.dataset,
                pl.col("split") == test.split,
                pl.col("condition") == test.condition,
            )
            assert len(rows) == cell.samples
            assert rows["mae"].mean() == pytest.approx(cell.scores["mae"], rel=1e-5)


def altered(change: Callable[[dict[str, Any]], object], folder: Path) -> Path:
    content = raw(SCHEMA_1)
    change(content)
    path = folder / "record.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda r: r["spec"].update(seed=1), "run_id: it is not the hash of the specification"),
        (lambda r: r["spec"]["method"]["config"].update(rank=4), "run_id: it is not the hash"),
        (lambda r: r.update(run_id="0" * 16), "run_id: it is not the hash"),
        (lambda r: r.pop("train"), "schema 1: KeyError: 'train'"),
        (lambda r: r.update(cells=[{}]), "schema 1: KeyError"),
        (lambda r: r.update(track=None), "schema 1: TypeError"),
        (lambda r: r.update(verification="trust me"), "schema 1: KeyError: 'trust me'"),
        (lambda r: r.update(status="fine"), "status"),
        (lambda r: r["counts"].update(adapter_bytes=-1), r"counts\.adapter_bytes"),
    ],
)
def test_an_edited_record_is_refused(
    change: Callable[[dict[str, Any]], object], expected: str, tmp_path: Path
) -> None:
    path = altered(change, tmp_path)
    with pytest.raises(RecordError, match=expected) as caught:
        read(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("self_reported", "self_reported"),
        ("re_evaluated", "rescored"),
        ("retrained", "replayed"),
    ],
)
def test_what_was_verified_is_a_level_now(old: str, new: str, tmp_path: Path) -> None:
    path = altered(lambda r: r.update(verification=old), tmp_path)
    assert read(path).level == new


def test_a_run_that_failed_has_no_evaluation(tmp_path: Path) -> None:
    nothing = {"status": "failed", "error": "nan", "cells": [], "score": None, "counts": None}
    record = read(altered(lambda r: r.update(nothing), tmp_path))
    assert (record.status, record.error, record.evaluations) == ("failed", "nan", ())
