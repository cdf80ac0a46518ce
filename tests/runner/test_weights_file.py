"""`bench evaluate`: the scores of a file of weights are those that the run itself has recorded."""

import json
import subprocess
from pathlib import Path

import pytest
from conftest import Inside
from homes import copy, records

Ran = tuple[Path, subprocess.CompletedProcess[str]]


@pytest.fixture
def home(ran: Ran, tmp_path: Path) -> Path:
    copy(ran[0], tmp_path, "data", "foundations", "runs")
    return tmp_path


def test_a_delta_on_its_foundation_gives_the_recorded_scores(
    home: Path, inside: Inside, tiny_track: Path
) -> None:
    record = next(iter(records(home, "lora").values()))
    (foundation,) = home.glob("foundations/*/*.safetensors")
    delta = home / "runs" / record.run_id / "delta.safetensors"
    words = ("evaluate", foundation, delta, "--track", tiny_track, "--device", "cpu", "--json")
    code, said, problem = inside(*words, home=home)
    assert code == 0, problem
    found = json.loads(said)
    assert len(found) == 4
    for cell in record.cells:
        assert found[cell.test_set.name] == pytest.approx(cell.scores, abs=1e-6)


def test_a_delta_is_not_evaluated_on_another_backbone(
    home: Path, inside: Inside, tiny_track: Path
) -> None:
    delta = next(home.glob("runs/*/delta.safetensors"))
    (foundation,) = home.glob("foundations/*/*.safetensors")
    words = ("evaluate", foundation, delta, "--track", tiny_track, "--backbone", "hybrid_vit")
    code, said, problem = inside(*words, home=home)
    assert (code, said) == (2, "")
    assert "leave the option out." in problem
    assert len(problem.splitlines()) == 1
