"""Copies of a home in which the command has run: quick to make, robbed of what a test wants made
again, and compared with the home they came from."""

import os
import shutil
from pathlib import Path

import polars as pl
from polars.testing import assert_frame_equal

from bench.records import scores
from bench.records.reader import read
from bench.records.record import Record


def copy(home: Path, target: Path, *parts: str) -> None:
    """Parts of a home, by hard links: files are replaced there, never changed."""
    for part in parts:
        shutil.copytree(home / part, target / part, copy_function=os.link)
    shutil.copy(home / "machine.json", target)


def remove_runs(home: Path, *datasets: str) -> None:
    """So that little is left to train: the runs of lora on these datasets."""
    for run_id, record in records(home, "lora").items():
        if record.spec.datasets[0] in datasets:
            shutil.rmtree(home / "runs" / run_id)


def records(home: Path, *methods: str) -> dict[str, Record]:
    """The records of these methods, of all where none is named, by run id."""
    found = [read(path) for path in home.glob("*/*/record.json")]
    return {r.run_id: r for r in found if not methods or r.spec.method.name in methods}


def sample_scores(home: Path, run_id: str) -> pl.DataFrame:
    """Per-sample scores of a run, in a fixed order of rows."""
    (path,) = home.glob(f"*/{run_id}/scores.parquet")
    return scores.read(path).sort(scores.KEYS)


def assert_same(home: Path, undisturbed: Path, *methods: str) -> None:
    """Scores, weights, learning curves and data, bit for bit; nothing left over."""
    ours, theirs = records(home, *methods), records(undisturbed, *methods)
    assert ours.keys() == theirs.keys()
    for run_id, record in ours.items():
        other = theirs[run_id]
        assert record.status == "done"
        assert {c.test_set: c for c in record.cells} == {c.test_set: c for c in other.cells}
        assert record.counts == other.counts
        assert record.data_sha256 == other.data_sha256
        assert [e.loss for e in record.curve] == [e.loss for e in other.curve]
        if record.cells:
            assert_frame_equal(
                sample_scores(home, run_id), sample_scores(undisturbed, run_id), check_exact=True
            )
    assert not list(home.glob("runs/*/unfinished"))
    # Notes of the home itself are written by many; what a killed writer leaves goes later, by age
    owned = [p for part in ("runs", "foundations", "data") for p in (home / part).rglob(".*")]
    assert [p for p in owned if p.is_file()] == []


def replace(path: Path, content: bytes) -> None:
    """Another content for a file of a copy; the home it came from keeps its own."""
    path.unlink()
    path.write_bytes(content)
