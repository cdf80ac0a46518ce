"""The commands that the contribute page prints are run, in the order in which it prints them."""

import html
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli import app
from leaderboard.build import render


def _commands(site: Path) -> list[list[str]]:
    source = (site / "contribute.html").read_text(encoding="utf-8")
    blocks = re.findall(r"<pre[^>]*><code>(.*?)</code></pre>", source, re.DOTALL)
    return [shlex.split(html.unescape(line)) for block in blocks for line in block.splitlines()]


def test_the_printed_commands_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = _commands(render.build([], tmp_path / "site").index.parent)
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    for words in commands:
        if words[:3] == ["pip", "install", "-e"]:
            assert (tmp_path / words[3] / "pyproject.toml").is_file(), words
        elif words[1] == "new-method":
            result = runner.invoke(app, words[1:])
            assert result.exit_code == 0, result.output
        else:  # needs the package installed or a trained run: the command and its options exist
            options = [word for word in words[2:] if word.startswith("-")]
            shown = runner.invoke(app, [words[1], "--help"], env={"COLUMNS": "200"})
            assert shown.exit_code == 0, words
            assert all(option in shown.output for option in options), words
