"""Track files, options, homes and folders that are not as they should be end in one sentence."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import matrix
import pytest
from data_folders import TINY, track_file

from bench.errors import ConfigError, HomeError
from bench.protocol import tracks
from bench.runner import workspace
from bench.runner.workspace import Workspace

Inside = Callable[..., tuple[int, str, str]]


def text(tmp_path: Path) -> str:
    return track_file(tmp_path, TINY).read_text()


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_byte_order_mark_and_line_ends_of_windows_load(tmp_path: Path, ends: str) -> None:
    plain = tracks.load(str(track_file(tmp_path, TINY)))
    path = tmp_path / "bom.toml"
    path.write_bytes(b"\xef\xbb\xbf" + text(tmp_path).replace("\n", ends).encode())
    assert tracks.load(str(path)) == plain


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1", "cp1252"])
def test_other_encodings_get_a_sentence(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "other.toml"
    content = text(tmp_path).replace('summary = ""', 'summary = "für später"')
    path.write_bytes(content.encode(encoding))
    with pytest.raises(ConfigError, match="is not in UTF-8"):
        tracks.load(str(path))


CONTENTS: dict[str, tuple[bytes, str]] = {
    "nested lists": (b"a = " + b"[" * 50_000, "nested too deeply"),
    "nested keys": (b"a" + b".a" * 5_000 + b" = 1", "cannot be read|is not valid"),
    "empty": (b"", "is not valid at 'name'"),
    "binary": (bytes(range(32)), "cannot be read"),
    "large": (b"#" * 5_000_000, "is larger than"),
    "escape codes": (b'"\\u001b[2J" = 1', "is not valid"),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_files_that_are_no_track(tmp_path: Path, name: str) -> None:
    content, message = CONTENTS[name]
    path = tmp_path / "t.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        tracks.load(str(path))
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["FIFO", "folder"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "t.toml")
    with pytest.raises(ConfigError, match="not a regular file"):
        tracks.load(str(tmp_path / "t.toml"))


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("train = 4", f"train = {10**18}", "data.train"),
        ("train = 4", f"train = {10**400}", "data.train"),
        ("train = 4", "train = 5_000_000\nseed = 1", "data"),
        ("train = 4", "train = -1", "data.train"),
        ("train = 4", "train = nan", "data.train"),
        ("train = 4", "train = 1e400", "data.train"),
        ("test = 2", f"test = {10**12}", "data.test"),
        ("samples_per_file = 2", f"samples_per_file = {10**30}", "data.samples_per_file"),
        ("epochs = 1", f"epochs = {10**15}", "pretrain.epochs"),
        ("batch = 2", f"batch = {10**15}", "pretrain.batch"),
        ("version = 1", f"version = 1\ngallery = {10**20}", "gallery"),
    ],
)
def test_absurd_sizes_get_a_sentence_at_once(
    tmp_path: Path, inside: Inside, old: str, new: str, where: str
) -> None:
    path = tmp_path / "t.toml"
    content = text(tmp_path)
    assert old in content
    path.write_text(content.replace(old, new, 1))
    code, _, error = inside("run", "-m", "fft", "--track", path, "--home", tmp_path / "home")
    assert code == 2
    assert f"is not valid at '{where}'" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("value", ["[" * 100_000, '{"a":' * 50_000], ids=["lists", "objects"])
def test_a_deeply_nested_option_gets_a_sentence(tmp_path: Path, inside: Inside, value: str) -> None:
    for flag in ("--set", "--grid"):
        protocol = ("-p", "sweep") if flag == "--grid" else ()
        words = ("run", "-m", "lora", flag, f"rank={value}", *protocol, "--home", tmp_path)
        code, _, error = inside(*words, "--dry-run")
        assert code == 2
        assert error.startswith("Error: ")
        assert error.count("\n") == 1
        assert len(error) < 3000


READING = {
    "compare": ("compare", "lora", "fft"),
    "runs": ("runs",),
    "report": ("report",),
    "publish": ("publish", "out"),
    "show": ("data", "show", "Style_A"),
}


@pytest.mark.parametrize("name", READING)
def test_a_reading_command_makes_no_home_by_a_typo(
    tmp_path: Path, inside: Inside, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, error = inside(*READING[name], "--home", tmp_path / "typo")
    assert code == 2
    assert f"Home folder {tmp_path / 'typo'} is not there; check --home" in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", READING)
def test_a_home_that_is_a_file(tmp_path: Path, inside: Inside, name: str) -> None:
    (tmp_path / "home").write_text("")
    code, _, error = inside(*READING[name], "--home", tmp_path / "home")
    assert code == 2
    assert "is not a folder" in error


def test_the_default_home_need_not_exist(
    tmp_path: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BENCH_HOME", raising=False)
    monkeypatch.setattr(workspace, "default", lambda: tmp_path / "never")
    assert inside("runs")[0] == 0
    assert not (tmp_path / "never").exists()


def test_a_home_is_read_without_writing(
    tmp_path: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write to read-only folders, so that writing itself is made to fail."""
    (tmp_path / "home").mkdir()

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(HomeError, match="Read-only file system"):
        Workspace(tmp_path / "home")
    assert inside("runs", "--home", tmp_path / "home")[0] == 0
    code, _, error = inside("compare", "lora", "fft", "--home", tmp_path / "home")
    assert code == 2
    assert "Read-only" not in error


@pytest.mark.parametrize("words", [("runs",), ("run", "-m", "fft", "--dry-run"), ("report",)])
def test_the_home_of_a_user_who_does_not_exist(inside: Inside, words: tuple[str, ...]) -> None:
    code, _, error = inside(*words, "--home", "~nobody-of-that-name/x")
    assert code == 2
    assert "Home folder ~nobody-of-that-name/x cannot be used: there is no such user" in error


SHADOWS = ("methods/__init__.py", "methods/lora.py", "methods.py", "leaderboard/x.py")


@pytest.mark.parametrize("name", matrix.part(SHADOWS, "methods.py"))
@pytest.mark.slow
def test_a_folder_of_the_users_that_shadows_a_package_is_named(tmp_path: Path, name: str) -> None:
    """``python -m`` looks in the working directory first; what lies there is not executed."""
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("raise SystemExit('executed')")
    folder = tmp_path / Path(name).parts[0]
    asked = subprocess.run(
        [sys.executable, "-m", "bench", "methods"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if "/" in name and not name.endswith("__init__.py"):
        # A folder without __init__.py gives way to a package further on
        assert asked.returncode == 0, asked.stderr
        return
    assert asked.returncode == 2
    assert f"{folder} stands in the way of the package" in asked.stderr
    assert "executed" not in asked.stderr
