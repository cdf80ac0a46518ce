"""`bench speed`: fair turns on a clock that we hold, counts by hand, the whole command."""

import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from conftest import Bench
from torch import nn

from bench import cli
from bench.data.reader import Samples
from bench.errors import BenchError
from bench.plugins import registry
from bench.records import measurement
from bench.runner import machine_speeds
from bench.runner.workspace import Workspace
from bench.seismic import metrics
from bench.seismic.scaling import scale_maps, scale_records
from bench.speed import ceilings, reference, suite, timing
from bench.speed.reference_process import reference_process
from bench.training.memory_traffic import Traffic
from bench.training.numerics import Numerics, choose

CPU = torch.device("cpu")
FLOAT32 = Numerics(device=CPU, bfloat16=False)


# --- timing -----------------------------------------------------------------------------------


def test_turns_are_interleaved_after_a_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)
    monkeypatch.setattr(timing, "time", clock)
    turns: list[str] = []
    durations = {"slow": iter([9, 9, 4, 8, 5]), "fast": iter([9, 9, 1, 1, 2])}

    def work(name: str) -> None:
        turns.append(name)
        clock.now += next(durations[name])

    told: list[int] = []
    found = timing.interleave(
        {name: lambda name=name: work(name) for name in durations},
        rounds=3,
        device=CPU,
        finished=told.append,
    )
    assert turns == ["slow", "slow", "fast", "fast"] + ["slow", "fast"] * 3
    assert found["slow"].seconds == (4, 8, 5), "the warm-up is not timed, nor the others' turns"
    assert found["slow"].median == 5
    assert found["slow"].spread == pytest.approx((8 - 4) / 5)
    assert found["fast"].median == 1
    assert sum(told) == 6


# --- counts -----------------------------------------------------------------------------------


def test_traffic_by_hand() -> None:
    x = torch.randn(1000)  # 4000 bytes, there before
    with Traffic() as traffic:
        y = x * 2  # reads one, writes one
        z = y.view(10, 100)[3:]  # a view moves nothing
        w = y + x  # reads two, writes one
        del y, z
        v = w.clone()  # reads one, writes one; y is gone by now
        v.add_(w)  # reads two, one of which it writes
    assert traffic.moved_bytes == 4000 * (2 + 3 + 2 + 2)
    assert traffic.peak_bytes == 2 * 4000
    assert v.numel() == w.numel() == 1000


def test_traffic_sees_the_backward_pass() -> None:
    weight = nn.Parameter(torch.ones(1000))
    with Traffic() as forward:
        y = (weight * 3).exp()
    with Traffic() as backward:
        y.sum().backward()
    assert forward.peak_bytes == 8000, "the product, kept for the exponential's sake, and y"
    assert backward.peak_bytes >= 8000 and weight.grad is not None


def test_ceilings_do_what_they_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ceilings._SIDE, "cpu", 64)
    monkeypatch.setitem(ceilings._COPY_BYTES, "cpu", 4096)
    for bfloat16 in (False, True):
        product, operations = ceilings.matrix_product(Numerics(device=CPU, bfloat16=bfloat16))
        result = product()
        assert isinstance(result, torch.Tensor) and result.shape == (64, 64)
        # Each element is a sum of 64 products of two standard normal numbers
        assert float(result.float().std()) == pytest.approx(8, rel=0.15)
        assert result.dtype == (torch.bfloat16 if bfloat16 else torch.float32)
        assert operations == 64 * 64 * (64 + 64), "as many products as sums"
    copy, moved = ceilings.memory_copy(FLOAT32)
    target = copy()
    assert isinstance(target, torch.Tensor) and (target == 1).all()
    assert moved == 2 * target.nbytes == 2 * 4096


# --- the reference process ------------------------------------------------------------------------


def test_the_reference_loop_scales_and_scores_as_the_harness_does() -> None:
    rng = np.random.default_rng(0)
    records = rng.normal(0, 10, (2, 5, 1000, 70)).astype(np.float32)
    maps = rng.uniform(1500, 4500, (2, 1, 70, 70)).astype(np.float32)
    x, y = reference.PlainDataset(records, maps)[1]
    scaled = scale_records(torch.from_numpy(records[1]))
    assert torch.allclose(torch.from_numpy(x), scaled, atol=1e-6)
    assert torch.allclose(torch.from_numpy(y), scale_maps(torch.from_numpy(maps[1])), atol=1e-6)
    loop = reference.PlainLoop(records, maps, backbone="inversionnet", batch=2, device=CPU)
    ((inputs, truth),) = loop.batches()
    scores = np.reshape(loop.score_epoch(), (2, 3))
    with torch.no_grad():
        prediction = loop.network(inputs)
    for column, name in enumerate(("mae", "rmse", "ssim")):
        ours = metrics.get(name).per_sample(prediction, truth).numpy()
        assert scores[:, column] == pytest.approx(ours, rel=1e-4), name
    first = loop.train_epoch()
    assert loop.train_epoch() < first


@pytest.mark.exhaustive
def test_an_opponent_that_dies_is_told() -> None:
    nothing = np.zeros((0, 5, 1000, 70), np.float32), np.zeros((0, 1, 70, 70), np.float32)
    with (
        reference_process(*nothing, backbone="inversionnet", batch=2, device=CPU) as turns,
        pytest.raises(BenchError, match="has ended by itself"),
    ):
        turns["train"]()  # no batches: a division by zero


# --- ablations ----------------------------------------------------------------------------------


class FourSamples:
    """Zeros in place of a dataset's files."""

    def __len__(self) -> int:
        return 4

    def records(self, rows: np.ndarray, *, native: bool = False) -> np.ndarray:
        return np.zeros((len(rows), 5, 1000, 70), np.float32)

    def maps(self, rows: np.ndarray) -> np.ndarray:
        return np.full((len(rows), 1, 70, 70), 3000, np.float32)


@pytest.mark.exhaustive
def test_each_means_of_being_fast_can_be_turned_off() -> None:
    bfloat16 = Numerics(device=CPU, bfloat16=True)
    installed, source = registry.load().get("head"), cast(Samples, FourSamples())
    with ExitStack() as running:
        ours = suite._training(installed, "inversionnet", source, bfloat16, running)
        assert (ours.name, ours.method, ours.per_turn) == ("train head", "head", 4)
        made = list(suite._ablations(installed, "inversionnet", source, bfloat16, running))
        made[-1].work()
    assert [one.name.partition(", ")[2] for one in made] == [
        "float32",
        "contiguous",
        "stock layers",
    ]
    assert all(one.method is None and one.kind == "train" for one in made)
    saved = [one.counts.saved_bytes_per_sample for one in (ours, *made) if one.counts]
    # float32 twice as much; stock layers also what BatchNorm is given, one map of 70 × 70
    assert saved == [saved[0], 2 * saved[0], saved[0], saved[0] + 2 * 70 * 70]


# --- what is kept for estimates -----------------------------------------------------------------


def speeds(**methods: float) -> machine_speeds.Speeds:
    return machine_speeds.Speeds(
        simulate_records_per_second=5,
        score_samples_per_second=20,
        train_samples_per_second=methods,
        step_bytes_per_sample=1e6,
    )


def test_speeds_are_kept_by_setting_and_methods_add_up(tmp_path: Path) -> None:
    home, stock = Workspace(tmp_path), Numerics(device=CPU, bfloat16=False, frugal=False)
    assert machine_speeds.load(home, "inversionnet", FLOAT32) is None
    machine_speeds.store(home, "inversionnet", FLOAT32, speeds(fft=10, lora=12))
    machine_speeds.store(home, "inversionnet", stock, speeds(fft=3))
    machine_speeds.store(home, "inversionnet", FLOAT32, speeds(lora=14, bitfit=20))
    found = machine_speeds.load(home, "inversionnet", FLOAT32)
    assert found is not None
    assert found.train_samples_per_second == {"fft": 10, "lora": 14, "bitfit": 20}
    assert found.train("fft") == 10
    assert found.train("a method that was not measured") == 14, "the median"
    assert machine_speeds.load(home, "inversionnet", stock) == speeds(fft=3)
    assert machine_speeds.load(home, "another", FLOAT32) is None


@pytest.mark.parametrize("content", ["", "[1]", '{"key": 1}', "\x00"])
def test_a_damaged_file_of_speeds_is_measured_anew(tmp_path: Path, content: str) -> None:
    home = Workspace(tmp_path)
    home.machine_file.write_text(content, encoding="utf-8")
    assert machine_speeds.load(home, "inversionnet", FLOAT32) is None
    machine_speeds.store(home, "inversionnet", FLOAT32, speeds(fft=10))
    assert machine_speeds.load(home, "inversionnet", FLOAT32) == speeds(fft=10)


# --- the command ------------------------------------------------------------------------------


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["bench", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def measured(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A home after `bench speed` at its smallest, and what it printed."""
    home = tmp_path_factory.mktemp("home")
    words = ("--method", "fft,bitfit", "--batch", "2", "--rounds", "3", "--against", "reference")
    save = ("--save", str(home / "speed" / "it.json"))
    done = bench("speed", *words, *save, "--json", home=home)
    assert done.returncode == 0, done.stderr
    return home, json.loads(done.stdout)


@pytest.mark.exhaustive
def test_the_command_reports_every_figure_with_its_ratio(measured: tuple[Path, Any]) -> None:
    _, told = measured
    rows = {row["name"]: row for row in told["figures"]}
    assert list(rows) == [
        "train fft",
        "train bitfit",
        "score",
        "simulate",
        "read files",
        "matrix ceiling",
        "memory ceiling",
        "reference train",
        "reference score",
        "reference read",
    ]
    assert all(row["per_second"] > 0 and len(row["seconds"]) == 3 for row in rows.values())
    for name, other in (
        ("train bitfit", "reference train"),
        ("score", "reference score"),
        ("read files", "reference read"),
    ):
        ratio = rows[name]["per_second"] / rows[other]["per_second"]
        assert rows[name]["times_reference"] == pytest.approx(ratio)
    fft, bitfit, plain = (rows[f"{n}"] for n in ("train fft", "train bitfit", "reference train"))
    mib = 2**20
    factor = 2 if told["settings"]["precision"] == "float32" else 1
    assert plain["saved_bytes_per_sample"] == pytest.approx(2 * 27.2 * mib, rel=0.01)
    assert fft["saved_bytes_per_sample"] < factor * 0.53 * 27.2 * mib
    assert bitfit["saved_bytes_per_sample"] < factor * 0.035 * 27.2 * mib
    assert bitfit["saved_times_reference"] < 0.035 and bitfit["peak_times_reference"] < 1
    assert bitfit["peak_bytes"] < fft["peak_bytes"]
    assert fft["flops_per_sample"] == pytest.approx(12.6e9, rel=0.01)
    for row in (fft, bitfit, plain):
        assert row["matrix_ceiling_fraction"] > 0 and row["memory_ceiling_fraction"] > 0


@pytest.mark.exhaustive
def test_the_saved_file_is_what_was_printed(measured: tuple[Path, Any]) -> None:
    home, told = measured
    rows = {row["name"]: row for row in told["figures"]}
    kept = measurement.read(home / "speed" / "it.json")
    named = {f"train {loop.method.name}": loop for loop in kept.methods}
    assert list(named) == ["train fft", "train bitfit"]
    for name, loop in (*named.items(), ("reference train", kept.reference)):
        row = rows[name]
        assert list(loop.seconds) == row["seconds"] and loop.samples == 2 * 2, "two steps"
        assert loop.saved_bytes_per_sample == row["saved_bytes_per_sample"]
        assert loop.peak_bytes == row["peak_bytes"]
        assert loop.samples / np.median(loop.seconds) == pytest.approx(row["per_second"])
    assert kept.methods[0].method.config == {"learning_rate_scale": 1.0, "batchnorm": None}
    assert (kept.batch, kept.backbone.name) == (2, "inversionnet")
    assert kept.execution.machine.model_dump(mode="json") == told["machine"]
    assert kept.execution.determinism.model_dump(mode="json") == told["settings"]
    assert kept.execution.command[:2] == ("bench", "speed")
    assert "--save" in kept.execution.command


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "add --against reference"),
        (("--against", "reference", "--rounds", "2"), "--rounds 3 or more"),
        (("--against", "reference"), "choose another name"),
    ],
)
def test_what_cannot_be_saved_is_told_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    words: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.setattr(suite, "measure", lambda *_, **__: pytest.fail("it measures"))
    notes = tmp_path / "notes.json"
    notes.write_text('{"my": "notes"}', encoding="utf-8")
    home = ("--home", str(tmp_path / "home"))
    assert call(monkeypatch, "speed", *home, "--save", str(notes), *words) == 2
    assert said in capsys.readouterr().err
    assert notes.read_text(encoding="utf-8") == '{"my": "notes"}'


def test_a_method_that_trains_nothing_has_no_training_to_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    timed: list[str] = []

    def measure(methods: Sequence[registry.Installed], **_: Any) -> list[suite.Figure]:
        timed.extend(installed.method.name for installed in methods)
        raise BenchError("enough")

    monkeypatch.setattr(suite, "measure", measure)
    home = ("--home", str(tmp_path / "home"), "--precision", "float32")
    assert call(monkeypatch, "speed", *home, "--method", "none") == 2
    assert "none trains nothing" in capsys.readouterr().err
    assert timed == []
    assert call(monkeypatch, "speed", *home, "--backbone", "inversionnet_quarter") == 2
    assert "none left out: it trains nothing" in capsys.readouterr().out
    assert "none" not in timed and {"fft", "head", "batchnorm_stats"} <= set(timed)


@pytest.mark.exhaustive
def test_its_speeds_are_what_run_estimates_with(
    measured: tuple[Path, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tiny_track: Path,
) -> None:
    home, told = measured
    rows = {row["name"]: row for row in told["figures"]}
    kept = machine_speeds._read(Workspace(home))
    (found,) = kept.values()
    assert found.train("fft") == rows["train fft"]["per_second"]
    assert found.simulate_records_per_second == rows["simulate"]["per_second"]
    assert found.score_samples_per_second == rows["score"]["per_second"]
    # Whatever this process's settings are called: four fits of four samples and two epochs at one
    # sample an hour, and a foundation on 24 samples at two an hour.
    slow = speeds(fft=1 / 3600, foundation=2 / 3600)
    machine_speeds.store(Workspace(home), "inversionnet_quarter", choose("cpu"), slow)
    words = ("--method", "fft", "--protocol", "id", "--track", str(tiny_track), "--home", str(home))
    assert call(monkeypatch, "run", *words, "--dry-run", "--quiet") == 0
    printed = capsys.readouterr().out
    assert "Measuring" not in printed
    assert f"training {4 * 4 * 2 + 24 // 2} h 00 min" in printed


@pytest.mark.exhaustive
def test_the_table_says_what_it_compares_with(
    measured: tuple[Path, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    from bench.cli.commands.speed import show

    show(measured[1])
    printed = capsys.readouterr().out
    assert "× reference" in printed and "54.4 MiB" in printed
