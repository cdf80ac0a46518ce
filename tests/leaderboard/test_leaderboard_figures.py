"""Figures and galleries: they show what the records say."""

import json
import re
from collections import defaultdict
from pathlib import Path

import factory
import numpy as np
import polars as pl
import pytest
from skimage.filters import sobel

from bench.protocol import protocols
from bench.protocol.spec import PRETRAINING, TARGETS
from bench.records import maps as kept_maps
from leaderboard.build import render
from leaderboard.figures import bars, complexity, cost, heat
from leaderboard.load import results
from leaderboard.load.reference import paper
from leaderboard.pages import gallery, lowdata
from leaderboard.stats.estimates import Estimate
from leaderboard.tables import gains, overview, sweeps
from leaderboard.tables.assembly import gather
from leaderboard.tables.boards import Board

METHODS = (factory.BASELINE, factory.FFT, factory.LORA)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of three methods at 10 and 100 %, and their pretraining."""
    folder = tmp_path_factory.mktemp("home")
    factory.populate(folder, METHODS, percents=(10, 100))
    return folder


@pytest.fixture(scope="module")
def board(home: Path) -> Board:
    (only,) = gather(results.read([home]))
    return only


@pytest.fixture(scope="module")
def site(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render.build([home], tmp_path_factory.mktemp("out") / "site").index.parent


def _page(site: Path, name: str) -> str:
    (path,) = site.glob(f"*-{name}.html")
    return path.read_text(encoding="utf-8")


def _folder(home: Path, kind: str, **spec: object) -> Path:
    """The run of that specification."""
    for path in home.glob(f"{kind}/*/record.json"):
        found = json.loads(path.read_text())["spec"]
        found["method"] = found["method"]["name"]
        if all(found[key] == value for key, value in spec.items()):
            return path.parent
    raise AssertionError(spec)


def test_galleries_are_those_of_the_paper(board: Board) -> None:
    """Figs 4 and 9 at 100 %, Fig. 7 at 10 %, Fig. 8 on the pretraining datasets."""
    found = gallery.chapters(board)
    assert [(c.group, c.label) for c in found] == [
        *(("Fitted on 100 % of", t) for t in TARGETS),
        *(("Fitted on 10 % of", t) for t in TARGETS),
        ("Pretraining", "six datasets"),
    ]
    *fits, pretraining = found
    assert {c.judge and c.judge.label for c in fits} == {"fft"}
    assert [v.label for v in pretraining.methods] == ["foundation", "baseline"]
    assert [test for _, _, test in pretraining.cells] == list(PRETRAINING)


@pytest.mark.parametrize(
    ("page", "kind", "spec", "test"),
    [
        (
            "gallery",
            "runs",
            {"method": "fft", "datasets": ["FlatVel_B"], "percent": 100},
            "Style_A",
        ),
        (
            "gallery-Style_B-10",
            "runs",
            {"method": "fft", "datasets": ["Style_B"], "percent": 10},
            "Style_B",
        ),
        ("gallery-pretrain", "foundations", {"method": "foundation"}, "CurveVel_A"),
    ],
)
def test_samples_are_chosen_by_the_rule(
    home: Path, site: Path, page: str, kind: str, spec: dict[str, object], test: str
) -> None:
    """Best, median and worst by the judge's MAE, straight from its file of maps."""
    with np.load(_folder(home, kind, seed=0, **spec) / "maps.npz") as arrays:
        difference = arrays[f"{test}.prediction"].astype(float) - arrays[f"{test}.truth"]
    order = np.argsort(np.abs(difference).mean(axis=(1, 2)))
    text = _page(site, page)
    section = text[text.index(f'<h2 id="{test}">') :].split("</section>")[0]
    chosen = re.findall(r"<h3[^>]*>(\w+): sample (\d+)</h3>", section)
    assert chosen == [("Best", str(order[0])), ("Median", str(order[1])), ("Worst", str(order[3]))]
    assert f"MAE {np.abs(difference[order[0]]).mean():.0f}" in section.replace("\u202f", "")


def test_the_worst_of_the_whole_split_is_shown_or_said_to_be_missing(
    home: Path, site: Path
) -> None:
    """The largest error in each method's file of scores; runs keep the maps of the first four."""
    shown = 0
    for test in TARGETS:
        text = _page(site, "gallery").replace("\u202f", "")
        section = text[text.index(f'<h3 id="{test}-worst">') :].split("</section>")[0]
        assert f"Worst of all {factory.SAMPLES} test samples" in section
        for method in ("baseline", "fft", "lora"):
            folder = _folder(
                home, "runs", method=method, datasets=["FlatVel_B"], percent=100, seed=0
            )
            scores = pl.read_parquet(folder / "scores.parquet").filter(dataset=test)
            errors = scores.sort("sample")["mae"].to_numpy()
            sample = int(errors.argmax())
            if sample < factory.KEPT:
                shown += 1
                assert f"Predicted by {method}, {test} sample {sample}" in section
            else:
                error = f"{errors.max() * 1500:.0f} m/s"
                assert f"{method} (sample {sample}, MAE {error})" in section
                assert f"Predicted by {method}" not in section
    assert 0 < shown < 12


def test_gain_of_pretraining_is_figure_2(home: Path, board: Board) -> None:
    """From the records alone: 100·(baseline − foundation)/baseline, mean over seeds."""
    means: dict[tuple[str, str], list[float]] = defaultdict(list)
    for path in (*home.glob("runs/*/record.json"), *home.glob("foundations/*/record.json")):
        record = json.loads(path.read_text())
        name = record["spec"]["method"]["name"]
        for cell in record["evaluations"][0]["cells"]:
            dataset = cell["test_set"]["dataset"]
            if dataset in PRETRAINING and name in ("foundation", "baseline"):
                means[name, dataset].append(cell["scores"]["mae"])
    scratch = next(v for v in board.variants if v.label == "baseline")
    assert board.foundation
    found = gains.own(board, board.foundation, scratch, PRETRAINING, ("mae",))
    for dataset in PRETRAINING:
        ours, theirs = (np.mean(means[n, dataset]) for n in ("foundation", "baseline"))
        gain = found[dataset, "mae"]
        assert isinstance(gain, Estimate)
        assert gain.value == pytest.approx(100 * (theirs - ours) / theirs, rel=1e-4)
        assert gain.low < gain.value < gain.high


def test_an_unresolved_gain_is_pale() -> None:
    def gain(low: float, high: float) -> Estimate:
        return Estimate(
            value=(low + high) / 2,
            low=low,
            high=high,
            standard_error=1.0,
            degrees_of_freedom=8,
            seeds=2,
            samples=9,
            p_value=0.2,
        )

    values = {("a", "x"): gain(-1, 3), ("b", "x"): gain(1, 3)}
    figure = bars.gains(values, ("a", "b"), ("x",), title="t", head="h", axis="dataset")
    assert figure.count('class="fill-0 pale"') == 1 and figure.count('class="fill-0"') == 1
    assert figure.count('class="bar-err"') == 2


def test_low_data_panels_show_methods_and_the_papers_curves(site: Path) -> None:
    text = _page(site, "lowdata")
    panels, means = 4 * 4 * 4, 2
    assert text.count('class="series"') == (panels + means) * len(METHODS)
    assert text.count('class="thin"') == 2 * text.count('class="series"')  # an interval a point
    printed = paper().filter(pl.col("fraction_percent").is_not_null())
    assert text.count('class="printed-mark"') == printed.height
    assert text.count('flagged as unreliable"') == int(printed["suspect"].sum())
    for name in set(printed["method"]):
        assert f"paper: {name}</button>" in text


def test_papers_numbers_are_found_by_panel() -> None:
    """Table VI, CurveFault_B: the 25 % row repeats the 10 % row, so both are flagged."""
    curves = {p.method: p for p in lowdata.printed(paper(), "FlatVel_B", "CurveFault_B", "mae")}
    fft = curves["FFT-PFM"]
    assert set(fft.values) == {10, 25, 50, 75, 100}
    assert fft.values[10] == fft.values[25] and fft.suspect == {10, 25}


def test_the_pareto_front_is_that_of_the_table(board: Board) -> None:
    rows = overview.rows(board)
    figure = cost.scatter(rows, protocols.get("ood"), "trainable_parameters")
    assert figure
    points = {
        row["method"]: (row["trainable_parameters"], row["ood_mae"])
        for row in overview.frame(rows).to_dicts()
    }
    front = {
        name
        for name, (price, error) in points.items()
        if not any(
            p <= price and e <= error and (p, e) != (price, error) for p, e in points.values()
        )
    }
    description = figure.split("<desc>")[1].split("</desc>")[0]
    assert set(re.findall(r"(\w+) \(", description)) == front
    assert "Trainable (parameters)" in figure and "MAE on [−1, 1]" in figure


def test_spatial_information_is_of_the_true_maps(board: Board) -> None:
    found = complexity.of(board)
    assert set(found) == {*PRETRAINING, *TARGETS}
    for dataset in ("FlatVel_A", "Style_B"):
        expected = np.mean([sobel(v.astype(float)).mean() for v in factory.truth(dataset)])
        assert found[dataset] == pytest.approx(expected, rel=1e-9)


def test_a_sweep_is_a_heat_map_as_table_ii(tmp_path: Path) -> None:
    """A map of rank by alpha for each learning rate; a config that lacks fits is out of it."""
    for rank in (4, 8, 16):
        for alpha in (4.0, 8.0):
            for rate in (1.0, 3.0):
                config = {"rank": rank, "alpha": alpha, "learning_rate_scale": rate}
                lora = factory.Fake(name="lora", config=config, skill=1 + abs(rank - 8) * alpha)
                lacking = rank == 16 and alpha == 8
                for target in TARGETS[: 1 if lacking else 2]:
                    factory.make(tmp_path, lora, (target,), holdout=True, maps=False)
    (board,) = gather(results.read([tmp_path]))
    tried = sweeps.configs(board.sweeps["lora"], board.cells)
    assert [t.complete for t in tried] == [True] * 10 + [False] * 2
    assert [t.scores["mae"] for t in tried[:10]] == sorted(t.scores["mae"] for t in tried[:10])
    page = _page(render.build([tmp_path], tmp_path / "site").index.parent, "sweep")
    maps_of = re.findall(r"<title>Validation MAE of lora by rank and alpha with ([^<]+)", page)
    assert maps_of == ["learning_rate_scale = 1", "learning_rate_scale = 3"]
    assert page.count('class="marked"') == 1 and page.count('class="empty"') == 2
    assert page.count("1 of 2</td>") == 2


def test_numbers_in_heat_maps_have_contrast_aa() -> None:
    values = {("r", str(i)): float(i) for i in range(64)}
    columns = [c for _, c in values]
    figure = heat.heat(
        values, ["r"], columns, title="t", row_label="a", column_label="b", ends=(0, 63)
    )
    inks = re.findall(r'fill="(#\w{6})"></rect><text[^>]*class="(on-\w+)"', figure)
    assert len(inks) == 64 and {ink for _, ink in inks} == {"on-light", "on-dark"}
    for colour, ink in inks:
        light = heat.luminance(colour)
        ratio = (light + 0.05) / 0.05 if ink == "on-light" else 1.05 / (light + 0.05)
        assert ratio >= 4.5, colour
    assert heat.luminance("#ffffff") == 1 and heat.luminance("#000000") == 0


def test_kept_maps_are_found_by_dataset(home: Path) -> None:
    folder = _folder(home, "runs", method="lora", datasets=["Style_A"], percent=10, seed=1)
    found = kept_maps.read(folder, ["Style_B", "FlatVel_A"])
    assert set(found) == {"Style_B"}
    assert (found["Style_B"].truth == factory.truth("Style_B")).all()
