"""`bench publish` reads and writes only what is its own; output survives every terminal."""

import os
import subprocess
import sys
from pathlib import Path

import factory
import matrix
import pytest
from conftest import Inside

from bench.protocol import tracks

MINI = tracks.load("mini")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    factory.make(tmp_path / "home", factory.FFT, ("Style_A",), track=MINI)
    return tmp_path / "home"


def run_of(home: Path) -> Path:
    (folder,) = (home / "runs").iterdir()
    return folder


@pytest.mark.parametrize("name", ["record.json", "scores.parquet", "maps.npz"])
def test_links_are_not_published(home: Path, tmp_path: Path, inside: Inside, name: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("root:x:0:0")
    (run_of(home) / name).unlink()
    (run_of(home) / name).symlink_to(secret)
    code, _, error = inside("publish", tmp_path / "out", "--track", "mini", home=home)
    assert code == 2 and "symbolic link" in error
    copies = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert all(b"root:x" not in path.read_bytes() for path in copies)


def test_an_id_that_leads_elsewhere_is_refused(home: Path, tmp_path: Path, inside: Inside) -> None:
    path = run_of(home) / "record.json"
    path.write_text(path.read_text().replace(run_of(home).name, "../../../escaped"))
    code, _, error = inside("publish", tmp_path / "a/b/c/out", "--track", "mini", home=home)
    assert code == 2 and "run_id" in error
    assert not list(tmp_path.rglob("escaped*"))


def test_control_codes_of_a_record_do_not_reach_the_terminal(home: Path, inside: Inside) -> None:
    path = run_of(home) / "record.json"
    text = path.read_text().replace('"status": "done"', '"status": "failed"')
    path.write_text(
        text.replace('"error": null', '"error": "\\u001b]0;owned\\u0007\\u001b[2J\\u202e"')
    )
    code, out, error = inside("runs", home=home)
    assert code == 0 and "owned" in out
    assert not any(c in out + error for c in "\x1b\x07\u202e")


@pytest.mark.parametrize("encoding", matrix.part(["ascii", "latin-1", "cp1252", "utf-8"], "ascii"))
@pytest.mark.parametrize(
    "words",
    matrix.part(
        [("--help",), ("tracks",), ("protocols",), ("run", "--help"), ("run", "-m", "lroa")],
        ("tracks",),
        ("run", "--help"),
    ),
)
def test_output_does_not_die_for_lack_of_a_character(
    home: Path, encoding: str, words: tuple[str, ...]
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", *words],
        env=os.environ | {"BENCH_HOME": str(home), "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    assert done.returncode == (2 if "lroa" in words else 0)
    told = (done.stdout + done.stderr).decode(encoding)
    assert told and "Traceback" not in told


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("words", [("tracks",), ("runs", "--json"), ("--help",)])
def test_a_full_disk_under_the_output_is_one_sentence(home: Path, words: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "bench", *words],
            env=os.environ | {"BENCH_HOME": str(home)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.strip() == "Error: The output cannot be written: No space left on device."


def test_a_reader_that_has_seen_enough_is_no_error(home: Path) -> None:
    command = f"{sys.executable} -m bench tracks --json | head -c 1"
    done = subprocess.run(
        ["bash", "-c", command],
        env=os.environ | {"BENCH_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "{" and done.stderr == ""


@pytest.mark.parametrize(
    "words",
    [
        *(("runs",), ("report",), ("compare", "lora", "fft"), ("publish", "out"), ("misfit",)),
        *(("replay", "0" * 16), ("status",)),
    ],
)
def test_reading_commands_make_no_home_by_typo(
    tmp_path: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, error = inside(*words, "--home", tmp_path / "hmoe")
    assert code == 2 and f"Home folder {tmp_path / 'hmoe'} is not there" in error
    assert list(tmp_path.iterdir()) == []


def test_the_status_of_a_home_without_plans(home: Path, inside: Inside) -> None:
    code, out, error = inside("status", home=home)
    assert code == 0, error
    assert "No plan in this home" in out


def test_a_home_that_nobody_may_write_is_read(
    home: Path, tmp_path: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write everywhere, so any writing below the home is made an error here."""
    genuine = os.open

    def guarded(path: object, flags: int, *rest: object, **options: object) -> int:
        below = isinstance(path, str | os.PathLike) and str(path).startswith(str(home))
        if below and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise PermissionError(13, "Permission denied", str(path))
        return genuine(path, flags, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", guarded)
    before = sorted(home.rglob("*"))
    assert inside("runs", home=home)[0] == 0
    assert inside("report", "--out", tmp_path / "site", home=home)[0] == 0
    assert sorted(home.rglob("*")) == before
