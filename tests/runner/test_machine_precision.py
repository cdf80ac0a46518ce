"""The precision of training: who decides it, and that it stays decided."""

import json
from collections.abc import Iterator
from pathlib import Path

import factory
import pytest
from conftest import Bench, Inside
from homes import copy
from test_plan import context_of

from bench.records.reader import read
from bench.runner import machine_precision, stored_plan, worker
from bench.runner.context import RunContext
from bench.runner.plan import Plan
from bench.runner.stored_plan import StoredPlan
from bench.training import precision, probe
from bench.training.precision import LayerTiming, PrecisionTiming

Told = list[float]
"""Speeds of bfloat16 relative to float32 that measurements will find, in their order."""


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    """Replaces the measurement; one for which nothing is left fails."""
    speedups: Told = []

    def measure(backbone: str, *, batch: int) -> PrecisionTiming:
        assert speedups, "a measurement that nobody needs"
        return PrecisionTiming(
            batch=batch,
            layers=(
                LayerTiming(
                    layer="l",
                    operations=1.0,
                    float32_seconds=speedups.pop(0),
                    bfloat16_seconds=1.0,
                ),
            ),
        )

    monkeypatch.setattr(precision, "measure", measure)
    yield speedups


def settled(home: Path, asked: str = "auto", plan_id: str = "") -> RunContext:
    """A context of the full network, in the precision that it gets."""
    context = context_of(home, "mini")
    context.plan_id = plan_id
    machine_precision.decide(context, asked=asked)
    return context


def on_processor(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = probe.machine().model_copy(update={"processor": name})
    monkeypatch.setattr(probe, "machine", lambda: machine)


@pytest.mark.parametrize(("speedup", "expected"), [(0.62, "float32"), (1.9, "bfloat16")])
def test_a_measurement_decides_and_is_kept(
    speedup: float, expected: str, told: Told, tmp_path: Path
) -> None:
    told.append(speedup)
    assert settled(tmp_path).numerics.describe().precision == expected
    assert settled(tmp_path).numerics.describe().precision == expected
    (kept,) = (tmp_path / "precision").iterdir()
    content = json.loads(kept.read_text(encoding="utf-8"))
    assert content["precision"] == expected
    assert content["processor"] == probe.machine().processor
    assert content["timing"]["layers"][0]["float32_seconds"] == speedup


def test_another_processor_and_another_backbone_are_measured_anew(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told += [2.0, 0.7, 0.8]
    assert settled(tmp_path).numerics.bfloat16
    quarter = context_of(tmp_path, "mini")
    quarter.backbone = quarter.backbone.model_copy(update={"name": "inversionnet_quarter"})
    machine_precision.decide(quarter, asked="auto")
    assert not quarter.numerics.bfloat16
    on_processor("Another CPU", monkeypatch)
    assert not settled(tmp_path).numerics.bfloat16
    assert told == []


def test_what_cannot_be_read_is_measured_again(told: Told, tmp_path: Path) -> None:
    told += [2.0, 0.7]
    settled(tmp_path)
    (kept,) = (tmp_path / "precision").iterdir()
    kept.write_text('{"precision": "float8"}', encoding="utf-8")
    assert not settled(tmp_path).numerics.bfloat16


def test_a_home_with_fits_of_this_processor_keeps_their_precision(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the factory are in bfloat16, on a processor that it names."""
    factory.make(tmp_path, factory.LORA, ("Style_A",))
    on_processor("Test CPU", monkeypatch)
    assert settled(tmp_path).numerics.bfloat16
    on_processor("Another CPU", monkeypatch)
    told.append(0.7)
    assert not settled(tmp_path).numerics.bfloat16


def test_workers_of_a_plan_take_what_the_first_of_them_finds(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a cluster whose machines differ; another plan is decided by its own first worker."""
    told.append(2.0)
    assert settled(tmp_path, plan_id="one").numerics.bfloat16
    on_processor("Another CPU", monkeypatch)
    assert settled(tmp_path, plan_id="one").numerics.bfloat16
    told.append(0.7)
    assert not settled(tmp_path, plan_id="two").numerics.bfloat16


def test_a_worker_takes_the_precision_of_its_plan(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(
        worker.execution, "execute_plan", lambda plan, at, **_: seen.append(at.numerics.precision)
    )
    context = context_of(tmp_path, "mini")
    plan = Plan(jobs=(), untrained=frozenset(), datasets_to_make=(), records_to_simulate=0)
    for word in ("bfloat16", "float32"):
        stored = StoredPlan.of(plan, context, device="cpu", precision=word)
        stored_plan.write(stored, context.workspace)
        again = stored_plan.load(context.workspace, stored.id)
        worker.run_worker(again, context.workspace, context.progress, lambda job: None)
    assert seen == ["bfloat16", "float32"]


def test_the_command_line_decides_before_all(
    inside: Inside, tiny_track: Path, told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shown in the plan either way."""
    monkeypatch.delenv("BENCH_PRECISION")
    words = ("run", "-m", "baseline", "-t", tiny_track, "--dry-run")
    told.append(2.5)
    code, out, error = inside(*words, home=tmp_path)
    assert code == 0, error
    expected = "bfloat16 on cpu (bfloat16 is 2.5 times as fast as float32 on layers of"
    assert f"Precision: {expected} inversionnet_quarter)" in out
    _, out, _ = inside(*words, "--precision", "float32", home=tmp_path)
    assert "Precision: float32 on cpu (as asked for)." in out
    _, out, _ = inside(*words, home=tmp_path)
    assert f"Precision: {expected}" in out


def test_an_unknown_precision_is_refused(inside: Inside, tmp_path: Path) -> None:
    home = tmp_path / "home"
    code, _, error = inside("run", "-m", "fft", "--precision", "half", home=home)
    assert code == 2
    assert "Unknown precision 'half'; use auto, bfloat16 or float32." in error
    assert not home.exists()


@pytest.mark.exhaustive
def test_a_replay_takes_the_precision_of_the_record(
    serial: Path, bench: Bench, tiny_track: Path, tmp_path: Path
) -> None:
    """Bit for bit, though commands of this environment train in float32."""
    copy(serial, tmp_path, "data")
    words = ("-m", "baseline", "-p", "id", "-t", str(tiny_track))
    done = bench("run", *words, "--precision", "bfloat16", home=tmp_path, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    assert "Precision: bfloat16 (4 trained)" in done.stdout
    records = [read(path) for path in tmp_path.glob("runs/*/record.json")]
    fits = [record for record in records if record.spec.kind == "adaptation"]
    assert {r.execution.determinism.precision for r in fits} == {"bfloat16"}
    other = read(serial / "runs" / fits[0].run_id / "record.json")
    assert other.execution.determinism.precision == "float32"
    assert other.counts != fits[0].counts
    again = bench("replay", fits[0].run_id, home=tmp_path, OMP_NUM_THREADS="1")
    assert again.returncode == 0, again.stderr
    assert "Agrees bit for bit, scores and weights." in again.stdout
