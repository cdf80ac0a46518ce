"""The real command line in a temporary home, on a tiny track: real physics, real training."""

import json
import subprocess
from pathlib import Path

import factory
import polars as pl
import pytest
from conftest import Bench, Inside
from homes import assert_same, copy, remove_runs, replace
from safetensors.torch import load_file

from bench.models.checkpoint import content_hash
from bench.protocol import fingerprint, tracks
from bench.records.record import Record, read

Ran = tuple[Path, subprocess.CompletedProcess[str]]


def records(home: Path) -> list[Record]:
    return [read(path) for path in sorted(home.glob("*/*/record.json"))]


def test_run_trains_everything_from_an_empty_home(ran: Ran) -> None:
    home, done = ran
    assert done.returncode == 0, done.stderr
    assert (
        "simulate 60 records, pretrain 1 foundation, train 12 fits, score 54 cells" in done.stdout
    )
    assert "Estimate: " in done.stdout
    assert "\x1b" not in done.stdout + done.stderr, "piped output carries no control characters"
    found = records(home)
    assert [r.status for r in found] == ["done"] * 13
    for name, trainable in (("fft", 24_409_123), ("lora", 1_148_480), ("baseline", 24_409_123)):
        own = [r for r in found if r.spec.method_name == name]
        assert {r.spec.datasets for r in own} == {
            ("FlatVel_B",),
            ("CurveFault_B",),
            ("Style_A",),
            ("Style_B",),
        }
        assert {r.counts.trainable_parameters for r in own if r.counts} == {trainable}


def test_record_holds_facts_and_scores_follow_from_the_parquet(ran: Ran) -> None:
    home, _ = ran
    for record in records(home):
        folder = home / ("runs" if record.spec.method else "foundations") / record.run_id
        scores = pl.read_parquet(folder / "scores.parquet")
        assert record.run_id == record.spec.run_id == folder.name
        assert record.determinism.device == "cpu"
        assert record.machine.cores > 0
        assert record.versions["torch"]
        assert record.train is not None
        assert record.train.seconds > 0
        assert len(record.curve) == (2 if record.spec.method else 1)
        assert all(len(value) == 64 for value in record.data_sha256.values())
        for cell in record.cells:
            mine = scores.filter(pl.col("dataset") == cell.dataset)
            assert len(mine) == cell.samples == 2
            assert mine["mae"].mean() == pytest.approx(cell.mae, rel=1e-5)
            assert mine["mse"].mean() ** 0.5 == pytest.approx(cell.rmse, rel=1e-5)
            assert mine["ssim"].mean() == pytest.approx(cell.ssim, rel=1e-5)


def test_fits_start_from_the_foundation_that_is_stored_with_its_hash(ran: Ran) -> None:
    home, _ = ran
    (file,) = home.glob("foundations/*/foundation.safetensors")
    stored = content_hash(load_file(file))
    for record in records(home):
        starts = record.spec.method_name in ("fft", "lora")
        assert record.foundation_sha256 == (stored if starts else None)


def test_second_run_repeats_nothing(ran: Ran, bench: Bench, tiny_track: Path) -> None:
    home, _ = ran
    before = {path: path.stat().st_mtime_ns for path in home.glob("*/*/*")}
    words = ("run", "--method", "baseline,fft,lora", "--protocol", "id")
    again = bench(*words, "--track", str(tiny_track), home=home)
    assert again.returncode == 0
    assert "Nothing to do" in again.stdout
    assert before == {path: path.stat().st_mtime_ns for path in home.glob("*/*/*")}


def test_two_runs_on_the_cpu_give_identical_scores(
    ran: Ran, bench: Bench, tiny_track: Path, tmp_path: Path
) -> None:
    """A fit is made again; so are data in test_generate.py and foundations in test_survival.py."""
    home, _ = ran
    copy(home, tmp_path, "data", "foundations", "runs")
    remove_runs(tmp_path, "Style_A")
    words = ("run", "--method", "lora", "--protocol", "ood", "--track", str(tiny_track))
    assert bench(*words, home=tmp_path).returncode == 0
    assert_same(tmp_path, home, "lora", "foundation")


def test_lists(ran: Ran, inside: Inside) -> None:
    home, _ = ran

    def printed(*words: str) -> str:
        code, out, _ = inside(*words, home=home)
        assert code == 0
        return out

    methods = json.loads(printed("methods", "--json"))["methods"]
    lora = next(m for m in methods if m["name"] == "lora")
    assert (lora["trainable_parameters"], lora["total_parameters"]) == (1_148_480, 25_557_603)
    assert lora["distribution"] == "fwi-peft-bench"
    assert lora["traits"]["mergeable"] is True
    runs = json.loads(printed("runs", "--json"))["runs"]
    assert len(runs) == 13
    tracks = json.loads(printed("tracks", "--json"))["tracks"]
    assert [t["name"] for t in tracks] == ["smoke", "mini", "standard", "openfwi"]
    for command, expected in (("protocols", "lowdata"), ("tracks", "mini"), ("runs", "Style_A")):
        assert expected in printed(command)


def test_report_from_the_run(ran: Ran, bench: Bench, tmp_path: Path) -> None:
    home, _ = ran
    done = bench("report", "--out", str(tmp_path / "site"), home=home)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    for name in ("baseline", "fft", "lora"):
        assert name in page


def test_publishing_copies_records_scores_and_maps(
    ran: Ran, bench: Bench, tiny_track: Path, tmp_path: Path
) -> None:
    home, _ = ran
    out = tmp_path / "records"
    done = bench("publish", str(out), "--track", str(tiny_track), home=home)
    assert done.returncode == 0, done.stderr
    copied = {path.parent.name: path for path in out.glob("tiny/*/record.json")}
    assert copied.keys() == {record.run_id for record in records(home)}
    for path in copied.values():
        (source,) = home.glob(f"*/{path.parent.name}")
        assert {p.name for p in path.parent.iterdir()} == {
            "record.json",
            "scores.parquet",
            "maps.npz",
        }
        for file in path.parent.iterdir():
            assert file.read_bytes() == (source / file.name).read_bytes()
    none = bench("publish", str(out), "--track", "mini", home=home)
    assert none.returncode == 2
    assert "no runs of track 'mini'" in none.stderr


def test_maps_that_the_gallery_does_not_show_are_not_published(
    tmp_path: Path, inside: Inside
) -> None:
    mini = tracks.load("mini")
    present = {"track": mini, "fingerprint": fingerprint.fingerprint(mini, "inversionnet")}
    for percent in (10, 25, 50, 75, 100):
        factory.make(tmp_path, factory.FFT, ("Style_A",), percent=percent, **present)
    code, _, _ = inside("publish", tmp_path / "records", home=tmp_path)
    assert code == 0
    found = {read(p).spec.percent: p.parent for p in tmp_path.glob("records/mini/*/record.json")}
    assert {percent: (folder / "maps.npz").exists() for percent, folder in found.items()} == {
        10: True,
        25: False,
        50: False,
        75: False,
        100: True,
    }


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--method", "lroa"), "Unknown method 'lroa'. Did you mean 'lora'?"),
        (("--method", "lora", "--protocol", "odd"), "Unknown protocol 'odd'. Did you mean 'ood'?"),
        (("--method", "lora", "--track", "mimi"), "Unknown track 'mimi'. Did you mean 'mini'?"),
        (("--method", "lora", "--backbone", "inversonnet"), "Did you mean 'inversionnet'?"),
        (("--method", "lora", "--set", "rnak=8"), "Unknown option of method 'lora' 'rnak'."),
        (("--method", "lora", "--set", "rank"), "write it as option=value"),
        (("--method", "lora", "--set", "rank=0"), "Option 'rank' of method 'lora'"),
        (("--method", "lora", "--set", "rank=many"), "Option 'rank' of method 'lora'"),
        (("--method", "lora", "--seeds", "one"), "--seeds one"),
        (("--method", "lora", "--device", "tpu"), "Unknown device 'tpu'"),
        (("--method", "lora", "--track", "openfwi"), "--data"),
        (("--methud", "lora"), "--method"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    inside: Inside, tmp_path: Path, words: tuple[str, ...], expected: str
) -> None:
    code, _, error = inside("run", *words, home=tmp_path)
    assert code == 2
    assert expected in error
    assert "Traceback" not in error
    assert not list(tmp_path.glob("runs/*"))


def test_cuda_without_a_gpu_is_refused(bench: Bench, tmp_path: Path) -> None:
    words = ("run", "--method", "lora", "--device", "cuda")
    done = bench(*words, home=tmp_path, CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 2
    assert "no CUDA GPU" in done.stderr


def test_debug_shows_the_traceback(bench: Bench, tmp_path: Path) -> None:
    done = bench("run", "--method", "lroa", "--debug", home=tmp_path)
    assert done.returncode != 0
    assert "Traceback" in done.stderr


def test_home_that_is_a_file_is_refused(inside: Inside, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    code, _, error = inside("run", "--method", "lora", home=tmp_path / "file")
    assert code == 2
    assert "cannot be used" in error


def test_damaged_foundation_is_named(
    ran: Ran, inside: Inside, tiny_track: Path, tmp_path: Path
) -> None:
    home, _ = ran
    copy(home, tmp_path, "data", "foundations")
    (file,) = tmp_path.glob("foundations/*/foundation.safetensors")
    content = bytearray(file.read_bytes())
    content[-5] ^= 0x40
    replace(file, bytes(content))
    words = ("run", "--method", "lora", "--protocol", "ood", "--track", str(tiny_track))
    code, _, error = inside(*words, home=tmp_path)
    assert code == 2
    assert str(file) in error
    assert "does not have the hash" in error


def test_damaged_data_file_is_named_before_training(
    ran: Ran, inside: Inside, tiny_track: Path, tmp_path: Path
) -> None:
    home, _ = ran
    copy(home, tmp_path, "data")
    (file,) = tmp_path.glob("data/*/Style_A/data/data1.npy")
    replace(file, file.read_bytes()[:-100])
    words = ("run", "--method", "baseline", "--protocol", "id", "--track", str(tiny_track))
    code, _, error = inside(*words, home=tmp_path)
    assert code == 2
    assert str(file) in error
    assert not list(tmp_path.glob("runs/*/record.json"))
