"""Protocol `shift` on a real run: the same fits, scored under other acquisitions."""

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Bench
from homes import copy, records

from bench.data.loader import Datasets
from bench.models import backbones
from bench.progress import Silent
from bench.protocol import conditions, tracks
from bench.protocol.conditions import CONDITIONS
from bench.protocol.spec import CLEAN
from bench.runner.context import RunContext
from bench.runner.workspace import Workspace
from bench.seismic.scaling import scale_records
from bench.training import numerics

Ran = tuple[Path, subprocess.CompletedProcess[str]]


@pytest.mark.exhaustive
def test_trained_fits_are_only_scored(
    ran: Ran, bench: Bench, tiny_track: Path, tmp_path: Path
) -> None:
    copy(ran[0], tmp_path, "data", "foundations", "runs")
    words = ("run", "--method", "lora", "--protocol", "shift", "--track", str(tiny_track))
    planned = bench(*words, "--dry-run", home=tmp_path)
    assert "simulate 16 records" in planned.stdout  # two sources, four targets, two samples
    assert "train 0 fits" in planned.stdout
    done = bench(*words, "--quiet", home=tmp_path)
    assert done.returncode == 0, done.stderr
    before, after = records(ran[0], "lora"), records(tmp_path, "lora")
    for run_id, record in after.items():
        own = [c.test_set for c in record.cells if c.test_set.dataset in record.spec.datasets]
        shifted = {test.condition for test in own}
        assert shifted == {CLEAN, *(condition.name for condition in CONDITIONS)}
        assert record.counts == before[run_id].counts
        kept = {c.test_set: c.scores for c in before[run_id].cells}
        assert kept.items() <= {c.test_set: c.scores for c in record.cells}.items()
    assert "Nothing to do" in bench(*words, home=tmp_path).stdout


def test_every_method_sees_the_same_records(ran: Ran, tiny_track: Path, tmp_path: Path) -> None:
    """Whether they stay in memory or come from the files, and sample by sample."""
    (folder,) = ran[0].glob("data/*")
    track = tracks.load(str(tiny_track))
    noise = conditions.get("noise_0db")
    kept = Datasets(folder, track, torch.device("cpu")).disturbed("Style_A", noise, tmp_path)
    (first, _), (second, _) = kept.batches([np.array([0]), np.array([1])])
    ((both, _),) = kept.batches([np.array([1, 0])])
    assert torch.equal(both, torch.cat([second, first]))
    clean = Datasets(folder, track, torch.device("cpu")).test("Style_A")
    ((plain, _),) = clean.batches([np.array([0])])
    assert not torch.equal(first, plain)
    raw = Datasets(folder, track, torch.device("cpu")).samples("Style_A", "test")
    scaled = scale_records(torch.from_numpy(raw.records(np.array([0])))).half()
    assert torch.equal(plain, scaled), "clean records are read as ever"


def test_records_of_a_condition_are_kept_by_what_they_depend_on(ran: Ran, tiny_track: Path) -> None:
    """Not by its words, and not by its name alone."""
    track = tracks.load(str(tiny_track))
    context = RunContext(
        workspace=Workspace(ran[0]),
        track=track,
        backbone=backbones.spec(track.default_backbone),
        numerics=numerics.choose("cpu"),
        progress=Silent(),
        command=(),
    )
    condition = conditions.get("source_10hz")
    folder = context.condition_folder("Style_A", condition)
    renamed = replace(condition, label="another word")
    assert context.condition_folder("Style_A", renamed) == folder
    changed = replace(condition, source_hz=11.0)
    assert context.condition_folder("Style_A", changed) != folder
