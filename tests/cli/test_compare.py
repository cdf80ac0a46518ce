"""`bench compare` on made-up records: its numbers by other ways, its sentences, its refusals."""

import csv
import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import factory
import numpy as np
import polars as pl
import pytest
from conftest import Inside
from factory import BASELINE, FFT, LORA, Fake, populate
from numpy.typing import NDArray
from scipy import stats

from bench.contract import Config
from bench.protocol import tracks
from bench.protocol.fingerprint import fingerprint
from bench.protocol.spec import PERCENTS, PRETRAINING, TARGETS, Data
from bench.records.reader import read
from bench.records.record import Record, write
from leaderboard.load import records, reference

SAMPLES = 100
TRACK = factory.TRACK.model_copy(
    update={"data": factory.TRACK.data.model_copy(update={"test": SAMPLES})}
)
BETTER = replace(LORA, reach=0.7)
TWIN = Fake(name="twin", reach=1.0)
"""As good as fft but for the noise."""


@pytest.fixture(autouse=True)
def nothing_published(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Else the package's own records would be compared, too."""
    monkeypatch.setattr(records, "PUBLISHED", tmp_path / "no records")


@pytest.fixture(scope="module")
def one_seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("one")
    methods = (BASELINE, FFT, BETTER, TWIN)
    populate(home, methods, seeds=(0,), percents=(100,), maps=False, track=TRACK)
    return home


@pytest.fixture(scope="module")
def three_seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("three")
    populate(home, (FFT, BETTER), seeds=(0, 1, 2), maps=False, track=TRACK)
    return home


def compare(inside: Inside, home: Path, *words: str) -> dict[str, Any]:
    code, out, error = inside("compare", *words, "--json", home=home)
    assert code == 0, error
    content: dict[str, Any] = json.loads(out)
    return content


def done(home: Path, method: str) -> list[Record]:
    found = [read(path) for path in sorted(home.glob("*/*/record.json"))]
    return [record for record in found if record.spec.method.name == method]


CELLS = [(train, test) for train in TARGETS for test in TARGETS if test != train]


def scores(home: Path, method: str, metric: str = "mae") -> NDArray[np.float64]:
    """Of the cells of `ood`, (seed, cell, sample), read from the files by polars."""
    fits = {
        (r.spec.seed, r.spec.datasets[0]): pl.read_parquet(
            home / "runs" / r.run_id / "scores.parquet"
        )
        for r in done(home, method)
        if r.spec.percent == 100
    }
    seeds = sorted({seed for seed, _ in fits})
    return np.array(
        [
            [
                fits[seed, train].filter(dataset=test).sort("sample")[metric].to_numpy()
                for train, test in CELLS
            ]
            for seed in seeds
        ],
        dtype=np.float64,
    )


def test_the_interval_of_one_seed_is_that_of_scipys_bootstrap(
    inside: Inside, one_seed: Path
) -> None:
    """Samples of the four test sets are drawn apart from each other; cells on one of them share
    its draw."""
    (found,) = compare(inside, one_seed, "lora", "fft")["comparisons"]
    gap = (scores(one_seed, "lora") - scores(one_seed, "fft"))[0]
    of_test_sets = [
        sum(gap[i] for i, cell in enumerate(CELLS) if cell[1] == test) / 12 for test in TARGETS
    ]
    theirs = stats.bootstrap(
        of_test_sets,
        lambda *sets, axis: sum(x.mean(axis=axis) for x in sets),
        n_resamples=8000,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    low, high = theirs.confidence_interval
    difference = found["difference"]
    assert difference["value"] == pytest.approx(gap.mean())
    assert difference["low"] == pytest.approx(low, abs=0.06 * (high - low))
    assert difference["high"] == pytest.approx(high, abs=0.06 * (high - low))
    assert difference["standard_error"] == pytest.approx(theirs.standard_error, rel=0.05)
    assert (difference["seeds"], difference["samples"]) == (1, SAMPLES)


def test_the_interval_of_several_seeds_is_that_of_a_bootstrap_written_here(
    inside: Inside, three_seeds: Path
) -> None:
    """Seeds and samples are drawn together, for both methods the same ones.

    These scores have no effect of the seed of their own, but one of each (seed, sample): what the
    harness takes off again, a plain crossed bootstrap counts three times.
    """
    content = compare(inside, three_seeds, "lora", "fft")
    (found,) = content["comparisons"]
    gap = scores(three_seeds, "lora") - scores(three_seeds, "fft")
    rng = np.random.default_rng(1)
    means = []
    for _ in range(2000):
        of_seeds = gap[rng.integers(0, 3, 2)]
        samples = {test: rng.integers(0, SAMPLES, SAMPLES - 1) for test in TARGETS}
        cells = [of_seeds[:, i, samples[test]].mean() for i, (_, test) in enumerate(CELLS)]
        means.append(np.mean(cells))
    assert content["seeds"] == [0, 1, 2]
    assert found["difference"]["value"] == pytest.approx(gap.mean())
    spread = found["difference"]["standard_error"]
    assert np.std(means) / np.sqrt(3) < spread < 1.05 * np.std(means)
    # Student's t of two degrees of freedom at the least, a normal deviate at the most certain.
    width = (found["difference"]["high"] - found["difference"]["low"]) / 2 / spread
    assert 1.9 < width < 4.4


def test_a_difference_of_rmse_is_that_of_each_fits_root(inside: Inside, three_seeds: Path) -> None:
    content = compare(inside, three_seeds, "lora", "fft", "--metric", "rmse")
    roots = {
        name: np.sqrt(scores(three_seeds, name, "mse").mean(axis=-1)) for name in ("lora", "fft")
    }
    (found,) = content["comparisons"]
    wanted = (roots["lora"] - roots["fft"]).mean()
    assert found["difference"]["value"] == pytest.approx(wanted, rel=1e-5)
    gains = 100 * (1 - roots["lora"].mean(axis=0) / roots["fft"].mean(axis=0))
    assert found["gain_percent"]["value"] == pytest.approx(gains.mean(), rel=1e-5)
    assert [(cell["train"], cell["test"]) for cell in content["cells"]] == CELLS
    values = [cell["scores"]["lora"]["value"] for cell in content["cells"]]
    assert values == pytest.approx(roots["lora"].mean(axis=0), rel=1e-5)


def test_the_verdict_says_what_is_resolved_and_what_is_not(
    inside: Inside, one_seed: Path, three_seeds: Path
) -> None:
    code, out, _ = inside("compare", "lora", "fft", home=three_seeds)
    assert code == 0
    assert "lora is better than fft by " in out
    assert "; resolved." in out
    assert "Gain over fft: " in out
    code, out, _ = inside("compare", "lora", "fft", home=one_seed)
    assert "resolved." not in out
    assert "3 seeds or more are needed to resolve it." in out
    code, out, _ = inside("compare", "twin", "fft", home=one_seed)
    assert "twin − fft is " in out
    assert " better than fft" not in out
    (found,) = compare(inside, one_seed, "twin", "fft")["comparisons"]
    assert not found["resolved"]
    assert found["difference"]["low"] < 0 < found["difference"]["high"]


def test_comparisons_and_cells_are_corrected_together(
    inside: Inside, one_seed: Path, three_seeds: Path
) -> None:
    """Holm's method: the i-th smallest of m p-values times m − i + 1, never falling."""

    def holm(p: list[float]) -> list[float]:
        order = sorted(range(len(p)), key=p.__getitem__)
        adjusted, largest = [0.0] * len(p), 0.0
        for done_before, i in enumerate(order):
            largest = max(largest, min(1.0, p[i] * (len(p) - done_before)))
            adjusted[i] = largest
        return adjusted

    content = compare(inside, one_seed, "baseline", "fft", "lora", "twin")
    found = content["comparisons"]
    assert [c["method"] for c in found] == ["baseline", "lora", "twin"]
    assert [c["p_holm"] for c in found] == pytest.approx(holm([c["p_value"] for c in found]))
    cells = [d for cell in content["cells"] for d in cell["differences"].values()]
    assert len(cells) == 36
    assert {d["comparisons"] for d in cells} == {36}
    assert [d["p_holm"] for d in cells] == pytest.approx(holm([d["p_value"] for d in cells]))
    for d in (*found, *cells):
        assert not d["resolved"]  # of one seed
    content = compare(inside, three_seeds, "lora", "fft")
    cells = [d for cell in content["cells"] for d in cell["differences"].values()]
    for d in (*content["comparisons"], *cells):
        excluded = d["difference"]["low"] > 0 or d["difference"]["high"] < 0
        assert d["resolved"] == (excluded and d["p_holm"] <= 0.05)


def test_several_methods_are_ranked_and_what_is_not_told_apart_is_tied(
    inside: Inside, one_seed: Path
) -> None:
    content = compare(inside, one_seed, "baseline", "fft", "lora", "twin")
    ranks = {r["method"]: (r["rank"], r["worst_rank"]) for r in content["ranking"]}
    assert ranks == {"lora": (1, 1), "fft": (2, 3), "twin": (2, 3), "baseline": (4, 4)}
    assert content["groups"][0] == "Rank 1: lora"
    assert content["groups"][1].startswith("Rank 2 to 3: ")
    assert content["groups"][1].endswith(" (not told apart)")
    table = np.stack([scores(one_seed, m).mean(axis=(0, -1)) for m in ranks])
    mean_ranks = stats.rankdata(table, axis=0).mean(axis=1)
    found = [r["mean_rank"] for r in content["ranking"]]
    assert found == pytest.approx(mean_ranks)


def test_the_family_of_comparisons_is_named(inside: Inside, one_seed: Path) -> None:
    _, out, _ = inside("compare", "baseline", "fft", "lora", "twin", home=one_seed)
    assert "the 6 pairs of these methods are one family" in " ".join(out.split())
    _, out, _ = inside("compare", "lora", "fft", home=one_seed)
    assert f"single cells: {len(CELLS)} comparisons" in " ".join(out.split())


def test_low_data_has_curves_areas_and_crossovers(inside: Inside, three_seeds: Path) -> None:
    low = compare(inside, three_seeds, "lora", "fft", "--protocol", "lowdata")["low_data"]
    curves = {}
    for name in ("lora", "fft"):
        cells = [
            (record.spec.percent, cell.scores["mae"])
            for record in done(three_seeds, name)
            for cell in record.cells
        ]
        curves[name] = [np.mean([mae for p, mae in cells if p == percent]) for percent in PERCENTS]
        points = [point["value"] for point in low["curves"][name]["points"]]
        assert points == pytest.approx(curves[name], rel=1e-6)
        area = np.trapezoid(curves[name], PERCENTS) / 90
        assert low["curves"][name]["area"]["value"] == pytest.approx(area, rel=1e-6)
    gap = np.subtract(curves["lora"], curves["fft"])
    difference = low["area_differences"]["lora"]
    assert difference["value"] == pytest.approx(np.trapezoid(gap, PERCENTS) / 90, rel=1e-6)
    crosses = low["crossovers"]["lora"]["fraction_percent"] is not None
    assert crosses == bool(np.diff(np.sign(gap)).any())
    code, out, _ = inside("compare", "lora", "fft", "-p", "lowdata", home=three_seeds)
    assert code == 0
    assert "area under curve" in out
    assert "Area, lora − fft: " in out
    assert "The curves of lora and fft " in out


def test_published_numbers_stand_beside_ours_marked_as_other_data(
    inside: Inside, one_seed: Path
) -> None:
    words = ("baseline", "fft", "--protocol", "id", "--reference")
    code, out, _ = inside("compare", *words, home=one_seed)
    assert code == 0
    assert "OTHER DATA: published numbers are from the real OpenFWI datasets" in out
    beside = compare(inside, one_seed, *words)["reference"]
    assert beside["other_data"].startswith("OTHER DATA")
    shown = {
        (row["method"], row["test"]): row["published"]
        for row in beside["cells"]
        if "Table V" in row["source"]
    }
    with Path(reference.__file__).parents[1].joinpath("reference", "paper.csv").open() as file:
        printed = {
            ({"FFT-PFM": "fft", "Baseline": "baseline"}[row["method"]], row["test_dataset"]): row[
                "value"
            ]
            for row in csv.DictReader(file)
            if row["table"] == "V" and row["metric"] == "mae"
        }
    assert shown == printed
    ours = {(row["method"], row["test"]): row["ours"] for row in beside["cells"]}
    for record in done(one_seed, "fft"):
        own = next(c for c in record.cells if c.test_set.dataset in record.spec.datasets)
        assert ours["fft", own.test_set.dataset] == pytest.approx(own.scores["mae"], rel=1e-6)


def test_misprints_are_flagged_beside_ours(inside: Inside, three_seeds: Path) -> None:
    """Table VI prints RMSE 0.178 below MAE 0.312, and 25 % of CurveFault_B as 10 %."""
    words = ("lora", "fft", "--protocol", "lowdata", "--reference")
    rows = compare(inside, three_seeds, *words, "--metric", "rmse")["reference"]["cells"]
    (impossible,) = (row for row in rows if "impossible" in row["flag"])
    assert (impossible["train"], impossible["test"]) == ("FlatVel_B", "CurveFault_B")
    assert (impossible["percent"], impossible["published"]) == (75, "0.178")
    code, out, _ = inside("compare", *words, "--metric", "rmse", home=three_seeds)
    assert code == 0
    assert "0.178 [" in out


def test_the_real_files_are_not_other_data(inside: Inside, tmp_path: Path) -> None:
    for data, marked in ((Data(source="files"), False), (TRACK.data, True)):
        home = tmp_path / data.source
        real = TRACK.model_copy(update={"data": data})
        populate(home, (FFT, LORA), seeds=(0,), percents=(100,), pretraining=False, track=real)
        content = compare(inside, home, "lora", "fft", "--reference")
        assert bool(content["reference"]["other_data"]) == marked


def test_the_foundation_is_compared_with_training_from_scratch(
    inside: Inside, one_seed: Path
) -> None:
    words = ("foundation", "baseline", "--protocol", "pretrain")
    content = compare(inside, one_seed, *words, "--reference")
    assert [cell["train"] for cell in content["cells"]] == list(PRETRAINING)
    rows = content["reference"]["cells"]
    assert {row["source"] for row in rows} == {"OpenFWI's published checkpoint"}
    code, _, error = inside("compare", "lora", "baseline", "-p", "pretrain", home=one_seed)
    assert code == 2
    assert "'lora' starts from the foundation" in error


def test_missing_cells_are_one_sentence_with_the_command_that_makes_them(
    inside: Inside,
    ran: tuple[Path, subprocess.CompletedProcess[str]],
    tiny_track: Path,
) -> None:
    home, _ = ran
    track = ("--track", str(tiny_track), "--home", str(home))
    code, out, error = inside("compare", "lora", "fft", "-p", "lowdata", *track)
    assert (code, out) == (2, "")
    assert len(error.strip().splitlines()) == 1
    assert error.startswith("Error: Not all 80 cells of 'lora' for 'lowdata' are recorded")
    command = error.partition("Make them with: ")[2].split()
    assert command[:6] == ["bench", "run", "--method", "lora,fft", "--protocol", "lowdata"]
    code, out, error = inside(*command[1:], "--dry-run")
    assert code == 0, error
    assert "train 32 fits" in out  # 16 of each method; those of `none` are only scored
    assert "Reused: 1 foundation, 0 fits" in out
    code, out, _ = inside("compare", "lora", "fft", *track)
    assert code == 0
    assert "track tiny" in out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("lora",), "Name two methods or more"),
        (("lora", "lora"), "Name two methods or more"),
        (("lora", "fft", "-p", "odd"), "Did you mean 'ood'?"),
        (("lora", "fft", "--metric", "mea"), "Did you mean 'mae'?"),
        (("lora", "fft", "--track", "mimi"), "Did you mean 'mini'?"),
        (("lora", "lorra"), "Unknown method 'lorra'. Did you mean 'lora'?"),
        (("lora", "fft", "--backbone", "hybrid_vot"), "Did you mean 'hybrid_vit'?"),
        (("lora", "fft", "--backbone", "hybrid_vit"), "no records on backbone 'hybrid_vit'. Make"),
        (("lora", "dora"), "'dora' has no fits on mini · inversionnet"),
        (("lora", "fft", "--track", "mini"), "records of it have another fingerprint"),
        (("lora", "fft", "--track", "smoke"), "Nothing is recorded on track 'smoke'. Make them"),
    ],
)
def test_bad_input_is_one_sentence(
    inside: Inside, one_seed: Path, words: tuple[str, ...], expected: str
) -> None:
    code, _, error = inside("compare", *words, home=one_seed)
    assert code == 2
    assert expected in error
    assert len(error.strip().splitlines()) == 1


def test_the_reference_method_may_be_named_apart(inside: Inside, one_seed: Path) -> None:
    content = compare(inside, one_seed, "lora", "--against", "baseline")
    assert content["reference_method"] == "baseline"
    assert [c["method"] for c in content["comparisons"]] == ["lora"]


def test_a_method_keeps_its_name_beside_a_tuned_one(inside: Inside, tmp_path: Path) -> None:
    usual = Config().model_dump()
    tuned = replace(FFT, config={"learning_rate_scale": 3.0})
    methods = (replace(FFT, config=usual), tuned, LORA)
    populate(tmp_path, methods, seeds=(0,), percents=(100,), pretraining=False)
    content = compare(inside, tmp_path, "lora", "fft learning_rate_scale=3.0", "fft")
    assert content["reference_method"] == "fft"
    assert [c["method"] for c in content["comparisons"]] == ["lora", "fft learning_rate_scale=3.0"]


def test_configs_of_one_method_are_told_apart(inside: Inside, tmp_path: Path) -> None:
    small = replace(LORA, config={"rank": 4, "alpha": 16.0})
    populate(tmp_path, (FFT, LORA, small), seeds=(0,), percents=(100,), pretraining=False)
    code, _, error = inside("compare", "lora", "fft", home=tmp_path)
    assert code == 2
    assert "'lora' has several recorded configs; name one of 'lora rank=16', 'lora rank=4'" in error
    content = compare(inside, tmp_path, "lora rank=4", "fft")
    assert [c["method"] for c in content["comparisons"]] == ["lora rank=4"]
    code, _, error = inside("compare", "lora rank=4", "fft", "-p", "lowdata", home=tmp_path)
    assert code == 2
    assert "bench run --method fft --protocol lowdata" in error
    assert "&& bench run --method lora --set rank=4 --protocol lowdata" in error


def test_records_of_another_fingerprint_are_kept_apart(inside: Inside, tmp_path: Path) -> None:
    """Old records of the same track, and more of them, change nothing."""
    mini = tracks.load("mini")
    present = fingerprint(mini, factory.BACKBONE)
    options: dict[str, Any] = {"percents": (100,), "pretraining": False}
    populate(tmp_path, (FFT, LORA), seeds=(0,), track=mini, **options)
    alone = compare(inside, tmp_path, "lora", "fft")
    worse = replace(LORA, reach=3.0)
    old = mini.model_copy(update={"version": 99})
    populate(tmp_path, (FFT, worse, BASELINE), seeds=(0, 1), track=old, **options)
    assert compare(inside, tmp_path, "lora", "fft", "--track", "mini") == alone
    assert alone["fingerprint"] == present


def test_lost_scores_are_missing_cells(inside: Inside, one_seed: Path, tmp_path: Path) -> None:
    shutil.copytree(one_seed, tmp_path / "home", copy_function=os.link)
    (first, *_) = done(one_seed, "fft")
    (tmp_path / "home" / "runs" / first.run_id / "scores.parquet").unlink()
    code, _, error = inside("compare", "lora", "fft", home=tmp_path / "home")
    assert code == 2
    assert "per-sample scores of lora and fft" in error
    assert "Make them with: bench run --method lora,fft" in error


def test_seeds_that_one_method_lacks_do_not_count(inside: Inside, tmp_path: Path) -> None:
    options: dict[str, Any] = {"percents": (100,), "pretraining": False, "track": TRACK}
    populate(tmp_path, (FFT,), seeds=(0, 1, 2), **options)
    populate(tmp_path, (BETTER,), seeds=(1, 2, 5), **options)
    failed = next(r for r in done(tmp_path, "lora") if r.spec.seed == 2)
    write(failed.model_copy(update={"status": "failed"}), tmp_path / "runs" / failed.run_id)
    assert compare(inside, tmp_path, "lora", "fft")["seeds"] == [1]


def test_one_fraction_of_low_data_is_compared_by_itself(inside: Inside, three_seeds: Path) -> None:
    whole = compare(inside, three_seeds, "lora", "fft", "--protocol", "lowdata")
    tenth = compare(inside, three_seeds, "lora", "fft", "--protocol", "lowdata", "--percent", "10")
    assert "low_data" not in tenth, "one point is no curve"
    assert {cell["percent"] for cell in tenth["cells"]} == {10}
    for row in tenth["ranking"]:
        point = whole["low_data"]["curves"][row["method"]]["points"][0]
        assert row["score"]["value"] == pytest.approx(point["value"])
    two = compare(
        inside, three_seeds, "lora", "fft", "--protocol", "lowdata", "--percent", "100,50"
    )
    assert two["low_data"]["curves"]["lora"]["fractions_percent"] == [50, 100]


def test_published_runs_are_compared_without_a_home(
    inside: Inside, three_seeds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with the package that `pip install .` makes, which has no records, in an empty account."""
    expected = compare(inside, three_seeds, "lora", "fft")
    monkeypatch.delenv("BENCH_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "nothing"))
    words = ("compare", "lora", "fft", "--json", "--records")
    code, out, error = inside(*words, three_seeds)
    assert code == 0, error
    assert json.loads(out) == expected
    assert not (tmp_path / "nothing").exists()
    code, _, error = inside(*words, tmp_path / "nothing")
    assert code == 2
    assert "nothing is not a folder; name one that holds runs." in error
