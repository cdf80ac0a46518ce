"""A forked command does what one that Python starts does."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import matrix
import pytest
from commands import Command, run


@pytest.mark.parametrize(
    "words",
    matrix.part(
        [("tracks", "--json"), ("runs",), ("run", "-m", "lroa"), ("run", "--no-such-option")],
        ("tracks", "--json"),
        ("run", "--no-such-option"),
    ),
)
def test_output_and_exit_code_are_those_of_a_fresh_process(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    fresh = subprocess.run(
        [sys.executable, "-m", "bench", *words],
        env=os.environ | {"BENCH_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    forked = run(*words, home=tmp_path)
    assert forked.returncode == fresh.returncode
    assert forked.stdout == fresh.stdout
    assert forked.stderr == fresh.stderr


def test_environment_and_folder_are_those_of_its_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bench_plugin.py").write_text("raise ValueError(__import__('os').environ['WHY'])")
    info = tmp_path / "plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[bench.methods]\nlazy = bench_plugin:method\n")
    done = run("check", "lazy", home=tmp_path, PYTHONPATH=str(tmp_path), WHY="because")
    assert done.returncode == 2
    assert "because" in done.stderr
    monkeypatch.setenv("WHY", "of no account")
    assert "of no account" in run("check", "lazy", home=tmp_path, PYTHONPATH=".").stderr


def test_signals_reach_it(tmp_path: Path) -> None:
    for number in (signal.SIGKILL, signal.SIGTERM):
        with Command("speed", home=tmp_path) as command:
            assert command.poll() is None
            command.send_signal(number)
            command.communicate(timeout=1200)
            assert command.returncode == -number
