"""Records: strict, versioned, whole or absent; cells that are scored again replace the old ones."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from old import template

from bench.atomic import write_atomically
from bench.errors import RecordError
from bench.protocol.spec import TestSet
from bench.records.reader import read
from bench.records.record import Cell, Evaluation, Record, write


def test_what_is_written_is_read_again_the_same(tmp_path: Path) -> None:
    record = template()
    path = write(record, tmp_path)
    assert read(path) == record
    assert json.loads(path.read_text(encoding="utf-8"))["schema_version"] == 2
    before = path.read_bytes()
    write(read(path), tmp_path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"schema_version": 3}, "newer than the 2"),
        ({"schema_version": 0}, "unknown schema version 0"),
        ({"schema_version": None}, "schema_version"),
        ({"surprise": 1}, "surprise"),
        ({"status": "fine"}, "status"),
        ({"spec": None}, "spec"),
        ({"evaluations": [{"cells": []}]}, r"evaluations\.0\.data_sha256"),
    ],
)
def test_what_is_not_a_record_is_refused(
    tmp_path: Path, change: dict[str, object], expected: str
) -> None:
    path = write(template(), tmp_path)
    content = json.loads(path.read_text(encoding="utf-8")) | change
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(RecordError, match=expected) as caught:
        read(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", "[1]", '"text"'])
def test_damaged_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(RecordError):
        read(path)


# --- cells --------------------------------------------------------------------------------------

STYLE_A, STYLE_B = TestSet(dataset="Style_A"), TestSet(dataset="Style_B")
NOISY = TestSet(dataset="Style_A", condition="noise_10db")


def evaluation(**scores: float) -> Evaluation:
    """Of the test sets A, B and N with these MAEs."""
    named = {"A": STYLE_A, "B": STYLE_B, "N": NOISY}
    return Evaluation(
        cells=tuple(
            Cell(test_set=named[name], samples=4, scores={"mae": mae}, versions={"mae": 1})
            for name, mae in scores.items()
        ),
        data_sha256={named[name].dataset: f"{mae}" for name, mae in scores.items()},
        cost=None,
        execution=template().execution,
    )


def scored(record: Record) -> dict[TestSet, float | None]:
    return {cell.test_set: cell.scores["mae"] for cell in record.cells}


def test_cells_of_a_new_evaluation_replace_those_of_the_same_test_sets() -> None:
    """The condition is part of a test set; the old evaluation keeps what is not replaced, with the
    hashes of the data that it was scored on."""
    bare = template().model_copy(update={"evaluations": ()})
    first = bare.with_evaluation(evaluation(A=0.1, B=0.2, N=0.3))
    again = first.with_evaluation(evaluation(A=0.4))
    assert scored(again) == {STYLE_A: 0.4, STYLE_B: 0.2, NOISY: 0.3}
    assert [set(e.data_sha256) for e in again.evaluations] == [{"Style_A", "Style_B"}, {"Style_A"}]
    without = first.with_evaluation(evaluation(A=0.4, N=0.5))
    assert [set(e.data_sha256) for e in without.evaluations] == [{"Style_B"}, {"Style_A"}]
    last = again.with_evaluation(evaluation(N=0.5, B=0.6))
    assert scored(last) == {STYLE_A: 0.4, STYLE_B: 0.6, NOISY: 0.5}
    assert len(last.evaluations) == 2, "nothing is left of the first"
    assert first == bare.with_evaluation(evaluation(A=0.1, B=0.2, N=0.3)), "records do not change"
    assert scored(first) == {STYLE_A: 0.1, STYLE_B: 0.2, NOISY: 0.3}


def test_a_cell_is_found_by_its_test_set() -> None:
    record = template().model_copy(update={"evaluations": (evaluation(A=0.1, N=0.3),)})
    found = record.cell(NOISY)
    assert found is not None and found.scores == {"mae": 0.3}
    assert record.cell(STYLE_B) is None


# --- writing ------------------------------------------------------------------------------------


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    """A limit on file sizes stands for a full disk."""
    path = tmp_path / "file"
    write_atomically(path, b"old")
    code = textwrap.dedent(
        f"""
        import resource, signal
        from pathlib import Path
        from bench.atomic import write_atomically
        from bench.errors import HomeError
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            write_atomically(Path({str(path)!r}), b"x" * 5000)
        except HomeError as error:
            print(error)
        """
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Cannot write" in done.stdout
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
