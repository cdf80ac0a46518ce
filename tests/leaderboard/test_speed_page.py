"""Speed on the site: from measurements alone, ratios by hand; the other costs are counted."""

import re
from pathlib import Path

import factory
import polars as pl
import pytest

from bench.records.measurement import Measurement, write
from leaderboard.build import render
from leaderboard.load import measurements, records, results
from leaderboard.tables import memory, overview, speeds
from leaderboard.tables.assembly import gather
from leaderboard.tables.boards import Board
from leaderboard.tables.speeds import Speed, Table

FULL = {"seeds": (0,), "percents": (100,), "pretraining": False, "maps": False}
METHODS = (factory.FFT, factory.LORA, factory.BITFIT)
LAPTOP = factory.measurement(
    {"fft": (2.0, 8.0, 4.0), "lora": (1.0, 2.0, 1.0)}, reference=(4.0, 8.0, 5.0)
)


def site(tmp_path: Path, *measured: Measurement) -> render.BuiltSite:
    home = tmp_path / "home"
    factory.populate(home, METHODS, **FULL)
    for i, one in enumerate(measured):
        write(one, home / "speed" / f"{i}.json")
    return render.build([home], tmp_path / "site")


def table(tmp_path: Path, *measured: Measurement) -> tuple[Board, Table]:
    site(tmp_path, *measured)
    (board,) = gather(results.read([tmp_path / "home"]))
    found, problems = measurements.read([tmp_path / "home"])
    assert problems == []
    made = speeds.table(board, board.variants, found)
    assert made
    return board, made


def by_label(made: Table) -> dict[str, Speed | None]:
    return {row.variant.label if row.variant else row.name: row.speeds[0] for row in made.rows}


def test_ratios_by_hand(tmp_path: Path) -> None:
    """32 samples a turn. fft: medians 4 s against 5 s; turn by turn 4/2, 8/8, 5/4."""
    _, made = table(tmp_path, LAPTOP)
    found = by_label(made)
    fft, lora = found["fft"], found["lora"]
    assert fft and lora
    times = fft.times_reference
    assert (times.value, times.low, times.high) == pytest.approx((1.25, 1.0, 2.0))
    rate = fft.per_second
    assert (rate.value, rate.low, rate.high) == pytest.approx((32 / 4, 32 / 8, 32 / 2))
    assert lora.times_reference.value == pytest.approx(5)
    assert (fft.saved_times_reference, fft.peak_times_reference) == (0.25, 0.5)
    (plain,) = made.reference
    assert plain.times_reference.value == pytest.approx(1)
    assert plain.per_second.value == pytest.approx(32 / 5)


def test_a_method_that_was_not_measured_is_a_gap_and_machines_are_columns(tmp_path: Path) -> None:
    other = factory.measurement({"adapter": (1.0, 1.0, 1.0)}, processor="Another CPU")
    _, made = table(tmp_path, LAPTOP, other)
    machines = [m.machine for m in made.measured]
    assert sorted(machines) == ["Another CPU, 2 cores", "Test CPU, 2 cores"]
    here = machines.index("Test CPU, 2 cores")
    known = {row.name: [s is not None for s in row.speeds] for row in made.rows}
    at_home = [i == here for i in range(2)]
    assert known["bitfit"] == [False, False]
    assert known["LoRA"] == at_home
    assert known["adapter"] == [not x for x in at_home], "measured, though it has no runs here"
    assert [row.variant for row in made.rows][-1] is None


def test_another_network_has_no_speeds(tmp_path: Path) -> None:
    newer = factory.BACKBONE.model_copy(update={"version": 2})
    strange = factory.measurement({"fft": (1.0, 1.0, 1.0)}, backbone=newer)
    built = site(tmp_path, strange)
    assert not list(built.index.parent.glob("*-speed.html"))
    assert "-speed.html" not in built.index.read_text(encoding="utf-8")


def test_another_config_is_another_method(tmp_path: Path) -> None:
    """Measured with rank 16; the runs have rank 4."""
    home = tmp_path / "home"
    factory.populate(home, (factory.FFT, factory.Fake(name="lora", config={"rank": 4})), **FULL)
    (board,) = gather(results.read([home]))
    write(LAPTOP, home / "speed" / "it.json")
    made = speeds.table(board, board.variants, measurements.read([home])[0])
    assert made
    assert [(r.name, bool(r.variant), bool(r.speeds[0])) for r in made.rows] == [
        ("Full fine-tuning (fft)", True, True),
        ("LoRA", True, False),
        ("LoRA", False, True),
    ]


def test_the_page_has_the_ratio_the_machine_and_the_command(tmp_path: Path) -> None:
    built = site(tmp_path, LAPTOP)
    folder = built.index.parent
    (page,) = folder.glob("*-speed.html")
    text = page.read_text(encoding="utf-8")
    assert "<strong>1.25×</strong>" in text and "1 … 2" in text
    assert "8 samples/s" in text and "(4 … 16)" in text
    assert "Test CPU, 2 cores" in text and "bench speed --save it.json" in text
    (copy,) = re.findall(r'href="(data/speed-[0-9a-f]+\.json)"', text)
    assert Measurement.model_validate_json((folder / copy).read_bytes()) == LAPTOP
    (lora,) = [
        text
        for path in folder.glob("methods/*.html")
        if "<h1>" in (text := path.read_text(encoding="utf-8")) and " LoRA</h1>" in text
    ]
    assert "5× the reference loop" in lora and "Test CPU, 2 cores" in lora


def test_a_hostile_measurement_is_a_problem_and_markup_is_text(tmp_path: Path) -> None:
    evil = factory.measurement({"fft": (1.0, 1.0, 1.0)}, processor="<script>alert(1)</script>")
    home = tmp_path / "home"
    (home / "speed").mkdir(parents=True)
    (home / "speed" / "bad.json").write_text('{"schema_version": 9}', encoding="utf-8")
    built = site(tmp_path, evil)
    assert [(p.path.name, "newer than" in p.reason) for p in built.problems] == [("bad.json", True)]
    (page,) = built.index.parent.glob("*-speed.html")
    assert "<script>alert" not in page.read_text(encoding="utf-8")


def test_a_published_measurement_is_shown_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "PUBLISHED", tmp_path / "published")
    write(LAPTOP, tmp_path / "published" / "speed" / "a.json")
    write(LAPTOP, tmp_path / "home" / "speed" / "b.json")
    (found,), problems = measurements.read([tmp_path / "home"])
    assert (found.origin, problems) == ("published", [])


def test_what_runs_took_is_on_their_pages_only(tmp_path: Path) -> None:
    """Speed, time and peak of the factory's records: 18 samples/s on a CPU."""
    built = site(tmp_path)
    (board,) = gather(results.read([tmp_path / "home"]))
    counted = {
        "trainable_parameters",
        "adapter_bytes",
        "optimiser_bytes",
        "saved_bytes_per_sample",
        "flops_per_sample",
    }
    rows = overview.rows(board)
    assert all(set(row.costs) == counted for row in rows)
    measured = {"peak_bytes", "samples_per_second", "train_seconds"}
    assert not measured & set(overview.frame(rows).columns)
    front = built.index.read_text(encoding="utf-8")
    assert not [name for name in measured if f'"{name}"' in front]
    run = next(built.index.parent.glob("runs/*.html")).read_text(encoding="utf-8")
    assert "Training speed" in run and "Test CPU, 2 cores" in run


def test_only_a_gpus_peaks_are_measured_memory(tmp_path: Path) -> None:
    """Resident memory of a process on a CPU says little of a fit's."""
    site(tmp_path)
    (board,) = gather(results.read([tmp_path / "home"]))
    found = memory.table(board)[board.variants[0].key]
    assert found.measured is None
    on_gpu = Board(
        **{name: getattr(board, name) for name in ("key", "track", "rules", "cells", "samples")},
        variants=board.variants,
        foundation=board.foundation,
        fits=board.fits.with_columns(pl.lit(True).alias("on_gpu"), pl.lit(5e8).alias("peak_bytes")),
    )
    found = memory.table(on_gpu)[on_gpu.variants[0].key]
    assert found.measured == 5e8
