"""The way from a command to the training step is short enough to be read."""

import sys
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from conftest import Inside
from homes import copy, records, remove_runs

from bench.cli.commands import run
from bench.training import train

ROOT = Path(__file__).parents[2]
ROOMS = tuple(f"{ROOT / room}/" for room in ("bench", "leaderboard", "methods"))
FRAMES = ["run", "execute_plan", "execute_job", "FitTraining.run", "fit", "training_step"]
"""Those of this project, from the command's function to the training step."""


def test_six_frames_lead_from_the_command_to_the_training_step(
    ran: tuple[Path, CompletedProcess[str]],
    inside: Inside,
    tiny_track: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copy(ran[0], tmp_path, "data", "foundations", "runs")
    remove_runs(tmp_path, "Style_B")
    original = train.training_step
    stacks: list[list[str]] = []

    def training_step(*arguments: Any, **options: Any) -> Any:
        names = [original.__qualname__]
        frame = sys._getframe(1)
        while frame.f_code is not run.run.__code__:
            if frame.f_code.co_filename.startswith(ROOMS):
                names.insert(0, frame.f_code.co_qualname)
            assert frame.f_back is not None
            frame = frame.f_back
        if train.fit.__qualname__ in names:  # else this machine's speed is measured
            stacks.append([run.run.__qualname__, *names])
        return original(*arguments, **options)

    monkeypatch.setattr(train, "training_step", training_step)
    words = ("run", "-m", "lora", "-p", "ood", "--track", tiny_track, "--quiet")
    assert inside(*words, home=tmp_path)[0] == 0
    assert len(records(tmp_path, "lora")) == len(records(ran[0], "lora"))
    assert stacks and all(stack == FRAMES for stack in stacks)


def test_the_map_shows_these_frames() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in FRAMES)
