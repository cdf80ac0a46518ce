"""The real command line in a temporary home, on a tiny track: real physics, real training."""

import json
import subprocess
from pathlib import Path

import factory
import numpy as np
import polars as pl
import pytest
from conftest import Bench, Inside
from homes import assert_same, copy, remove_runs, replace
from safetensors.torch import load_file

from bench.data import layout
from bench.models.checkpoint import content_hash
from bench.protocol import tracks
from bench.records import maps, misfits
from bench.records.reader import read
from bench.records.record import Record

Ran = tuple[Path, subprocess.CompletedProcess[str]]


def records(home: Path) -> list[Record]:
    return [read(path) for path in sorted(home.glob("*/*/record.json"))]


def test_run_trains_everything_from_an_empty_home(ran: Ran) -> None:
    home, done = ran
    assert done.returncode == 0, done.stderr
    assert (  # 4 targets × 3 methods; `none`, which is scored, too, is not trained
        "simulate 60 records, pretrain 1 foundation, train 12 fits, score 48 cells" in done.stdout
    )
    assert "Estimate: " in done.stdout
    assert "\x1b" not in done.stdout + done.stderr, "piped output carries no control characters"
    found = records(home)
    assert [r.status for r in found] == ["done"] * (1 + 4 + 16), "foundation, floors, fits"
    for name, trainable in (
        ("fft", 1_528_267),
        ("lora", 287_552),
        ("baseline", 1_528_267),
        ("none", 0),
    ):
        own = [r for r in found if r.spec.method.name == name]
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
        kind = "foundations" if record.spec.kind == "pretraining" else "runs"
        folder = home / kind / record.run_id
        assert record.run_id == record.spec.run_id == folder.name
        assert record.execution.determinism.device == "cpu"
        assert record.execution.machine.cores > 0
        assert record.execution.versions["torch"]
        assert record.cost is not None
        assert record.cost.seconds > 0
        epochs = {"pretraining": 1, "floor": 0, "adaptation": 2}[record.spec.kind]
        assert len(record.curve) == (0 if record.spec.method.name == "none" else epochs)
        assert all(len(value) == 64 for value in record.data_sha256.values())
        tested = {"pretraining": 0, "floor": 1, "adaptation": 3}[record.spec.kind]
        assert len(record.cells) == tested
        if not tested:
            continue
        scores = pl.read_parquet(folder / "scores.parquet")
        for cell in record.cells:
            mine = scores.filter(pl.col("dataset") == cell.test_set.dataset)
            assert len(mine) == cell.samples == 2
            assert mine["mae"].mean() == pytest.approx(cell.scores["mae"], rel=1e-5)
            assert mine["mse"].mean() ** 0.5 == pytest.approx(cell.scores["rmse"], rel=1e-5)
            assert mine["ssim"].mean() == pytest.approx(cell.scores["ssim"], rel=1e-5)


def test_the_untouched_foundation_scores_alike_whatever_it_was_asked_to_adapt_to(ran: Ran) -> None:
    home, _ = ran
    none = [r for r in records(home) if r.spec.method.name == "none"]
    by_test: dict[str, set[str]] = {}
    for record in none:
        assert record.counts is not None
        assert (record.counts.trainable_parameters, record.counts.changed_buffers) == (0, 0)
        for cell in record.cells:
            by_test.setdefault(cell.test_set.name, set()).add(json.dumps(cell.scores))
    assert len(by_test) == 4
    assert all(len(scores) == 1 for scores in by_test.values())


def test_the_floor_is_the_mean_training_map(ran: Ran) -> None:
    """Against NumPy on the files themselves."""
    home, _ = ran
    (folder,) = home.glob("data/*")
    for record in records(home):
        if record.spec.kind == "floor":
            (name,) = record.spec.datasets
            data = record.track.data
            maps = {
                split: np.concatenate(
                    [np.load(folder / name / pair.maps) for pair in layout.files(name, split, data)]
                ).astype(np.float64)
                for split in ("train", "test")
            }
            error = np.abs(maps["test"] - maps["train"].mean(axis=0)).mean() / 1500
            assert record.cells[0].scores["mae"] == pytest.approx(error, abs=1e-6)


def test_fits_start_from_the_foundation_that_is_stored_with_its_hash(ran: Ran) -> None:
    home, _ = ran
    (file,) = home.glob("foundations/*/foundation.safetensors")
    stored = content_hash(load_file(file))
    for record in records(home):
        starts = record.spec.method.name in ("fft", "lora", "none")
        assert record.foundation_sha256 == (stored if starts else None)


def test_second_run_repeats_nothing(ran: Ran, bench: Bench, tiny_track: Path) -> None:
    home, _ = ran
    before = {path: path.stat().st_mtime_ns for path in home.glob("*/*/*")}
    words = ("run", "--method", "baseline,fft,lora", "--protocol", "ood")
    again = bench(*words, "--track", str(tiny_track), home=home)
    assert again.returncode == 0
    assert "Nothing to do" in again.stdout
    assert "\N{NO-BREAK SPACE}KiB" in again.stdout, "numbers have their unit"
    assert "\N{REPLACEMENT CHARACTER}" not in again.stdout
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
    assert len(runs) == 21
    tracks = json.loads(printed("tracks", "--json"))["tracks"]
    assert [t["name"] for t in tracks] == ["smoke", "small", "mini", "standard", "openfwi"]
    for command, expected in (("protocols", "lowdata"), ("tracks", "mini"), ("runs", "Style_A")):
        assert expected in printed(command)


def test_report_from_the_run(ran: Ran, bench: Bench, tmp_path: Path) -> None:
    home, _ = ran
    done = bench("report", "--out", str(tmp_path / "site"), home=home)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    for name in ("baseline", "fft", "lora"):
        assert name in page
    own = Path(done.stdout.rstrip().rpartition(": ")[2])
    assert "<title>tiny · " in own.read_text(encoding="utf-8")


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
        scored = {"scores.parquet", "maps.npz"} if read(path).cells else set()
        assert {p.name for p in path.parent.iterdir()} == {"record.json"} | scored
        for file in path.parent.iterdir():
            assert file.read_bytes() == (source / file.name).read_bytes()
    none = bench("publish", str(out), "--track", "mini", home=home)
    assert none.returncode == 2
    assert "no runs of track 'mini' with backbone 'inversionnet' under" in none.stderr


def test_maps_that_the_gallery_does_not_show_are_not_published(
    tmp_path: Path, inside: Inside
) -> None:
    mini = tracks.load("mini")
    present = {"track": mini}
    for percent in (10, 25, 50, 75, 100):
        factory.make(tmp_path, factory.FFT, ("Style_A",), percent=percent, **present)
    code, _, _ = inside("publish", tmp_path / "records", "--track", "mini", home=tmp_path)
    assert code == 0
    found = {read(p).spec.percent: p.parent for p in tmp_path.glob("records/mini/*/record.json")}
    assert {percent: (folder / "maps.npz").exists() for percent, folder in found.items()} == {
        10: True,
        25: False,
        50: False,
        75: False,
        100: True,
    }


def test_fewer_maps_are_published_with_their_misfits(tmp_path: Path, inside: Inside) -> None:
    record = factory.make(tmp_path, factory.FFT, ("Style_A",), track=tracks.load("mini"))
    folder = tmp_path / "runs" / record.run_id
    kept = maps.read(folder)
    rows = [(name, i, 0.1, 0.0, 0.0) for name in kept for i in range(len(kept[name].samples))]
    columns = ["dataset", "sample", "relative_l2", "clamped", "excess_mps"]
    own = {"version": pl.lit(1), "maps": pl.lit(misfits.maps_sha256(folder))}
    misfits.write(folder, pl.DataFrame(rows, columns, orient="row").with_columns(**own))
    words = ("publish", tmp_path / "out", "--track", "mini", "--maps", "1")
    assert inside(*words, home=tmp_path)[0] == 0
    copy = tmp_path / "out/mini" / record.run_id
    fewer = maps.read(copy)
    assert fewer.keys() == kept.keys()
    for name, published in fewer.items():
        chosen = sorted({0, int(kept[name].errors_mps().argmax())})
        assert published.samples.tolist() == chosen
        assert (published.prediction == kept[name].prediction[chosen]).all()
        assert (published.truth == kept[name].truth[chosen]).all()
        rows = misfits.read(copy).filter(pl.col("dataset") == name)
        assert rows["sample"].to_list() == chosen


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--method", "lroa"), "Unknown method 'lroa'. Did you mean 'lora'?"),
        (("--method", "lora", "--protocol", "odd"), "Unknown protocol 'odd'. Did you mean 'ood'?"),
        (("--method", "lora", "--track", "mimi"), "Unknown track 'mimi'. Did you mean 'mini'?"),
        (("--method", "lora", "--backbone", "inversonnet"), "Did you mean 'inversionnet'?"),
        (("--method", "lora", "--set", "rnak=8"), "Unknown option 'rnak'. Did you mean 'rank'?"),
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
