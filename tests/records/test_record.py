"""Records: strict, versioned, whole or absent; old ones stay readable."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from bench.atomic import write_atomically
from bench.errors import RecordError
from bench.records.record import read, write

FIXTURE = Path(__file__).parent / "old_records" / "schema_1.json"


def test_old_record_is_read_and_written_back_the_same(tmp_path: Path) -> None:
    record = read(FIXTURE)
    again = read(write(record, tmp_path))
    assert again == record
    assert record.run_id == record.spec.run_id, "the run id is the hash of the specification"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"schema_version": 2}, "newer than the 1"),
        ({"surprise": 1}, "surprise"),
        ({"status": "fine"}, "status"),
        ({"spec": None}, "spec"),
    ],
)
def test_what_is_not_a_record_is_refused(
    tmp_path: Path, change: dict[str, object], expected: str
) -> None:
    content = json.loads(FIXTURE.read_text(encoding="utf-8")) | change
    path = tmp_path / "record.json"
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


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    """A limit on file sizes stands for a full disk."""
    path = tmp_path / "file"
    write_atomically(path, b"old")
    code = textwrap.dedent(
        f"""
        import resource, signal
        from pathlib import Path
        from bench.errors import HomeError
        from bench.record import write_atomically
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
