"""Estimates against counts worked out by hand, at made-up speeds."""

from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from test_plan import context_of, planned

from bench.runner import machine_speeds
from bench.runner.estimate import estimate
from bench.runner.machine_speeds import Speeds

SPEEDS = Speeds(
    simulate_records_per_second=2,
    score_samples_per_second=10,
    train_samples_per_second={"baseline": 4, "lora": 5, "foundation": 8},
    step_bytes_per_sample=1e6,
)
RECORD_AND_MAP = 2 * 5 * 1000 * 70 + 4 * 70 * 70
PARAMETERS = 24_409_123


def test_time_and_disk_of_a_plan(tmp_path: Path) -> None:
    """Track smoke: ten datasets of 12 + 2 samples; two epochs of everything."""
    at = context_of(tmp_path, "smoke")
    found = estimate(planned(at, "id", "baseline,lora"), at, SPEEDS)
    assert found.simulate_seconds == 10 * 14 / 2
    trained = 4 * 12 * 2 / 4 + 4 * 12 * 2 / 5 + 6 * 12 * 2 / 8
    assert found.train_seconds == pytest.approx(trained, abs=9)  # and nine fits to set up
    assert found.score_seconds == pytest.approx((8 * 2 + 4 * 2) / 10), "fits and floors"
    weights = 4 * (5 * PARAMETERS + 4 * 1_148_480)
    assert found.disk_bytes == 140 * RECORD_AND_MAP + weights


def test_a_tenth_of_the_data_takes_a_tenth_of_the_time(tmp_path: Path) -> None:
    at = context_of(tmp_path, "standard")
    low = estimate(planned(at, "lowdata", "baseline"), at, SPEEDS)
    whole = estimate(planned(at, "id", "baseline"), at, SPEEDS)
    assert low.train_seconds == pytest.approx(2.6 * whole.train_seconds, rel=1e-3)


def test_data_that_stay_in_files_are_not_counted_as_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real files hold 300 GB; with 30 GB free, batches are read as they are needed."""
    memory = psutil.virtual_memory()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory._replace(available=30e9))
    real = context_of(tmp_path, "openfwi", data_folder=tmp_path)
    found = estimate(planned(real, "ood", "baseline,lora"), real, SPEEDS)
    present = psutil.Process().memory_info().rss
    assert found.memory_bytes - present == pytest.approx(16 * PARAMETERS + 128 * 1e6, rel=0.05)
    assert found.simulate_seconds == 0


def test_small_data_are_counted_as_memory(tmp_path: Path) -> None:
    """Pretraining on smoke: 6 × (12 + 2) samples, records in half precision, maps not."""
    at = context_of(tmp_path, "smoke")
    found = estimate(planned(at, "pretrain", "baseline"), at, SPEEDS)
    data = (6 * 12 + 6 * 2) * (2 * 5 * 1000 * 70 + 4 * 70 * 70)
    expected = psutil.Process().memory_info().rss + 16 * PARAMETERS + 16 * 1e6 + data
    assert found.memory_bytes == pytest.approx(expected, rel=0.02)


def test_kept_activations_are_counted_as_memory(tmp_path: Path) -> None:
    """Before `deconv6`: 32 × 80 × 80 numbers a sample, and its map; BitFit begins at the records.

    The foundation is there already: pretraining it takes more memory than any of these fits.
    """
    at = context_of(tmp_path, "mini")

    def memory(method: str) -> int:
        plan = planned(at, "id", method)
        fits = tuple(job for job in plan.jobs if job.spec.kind == "adaptation")
        found = estimate(replace(plan, jobs=fits), at, SPEEDS)
        return found.memory_bytes - psutil.Process().memory_info().rss

    kept = 128 * (32 * 80 * 80 * at.numerics.dtype.itemsize + 4 * 70 * 70)
    weights = 4 * 4 * (8_642 - 291)
    assert memory("head") - memory("bitfit") == pytest.approx(kept - weights, abs=3e6)


def test_a_call_that_was_held_up_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when other programs start: their time is not this machine's speed."""
    clock, lasts = 0.0, iter([9.0, 4.0, 0.2, 3.0, 0.3, *[8.0] * 9])

    def work() -> None:
        nonlocal clock
        clock += next(lasts)

    monkeypatch.setattr(machine_speeds.time, "perf_counter", lambda: clock)
    assert machine_speeds._seconds(work, torch.device("cpu")) == pytest.approx(0.2)
