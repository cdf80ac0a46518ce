"""The site's numbers, files and safety, from fake but schema-valid records."""

import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import factory
import numpy as np
import polars as pl
import pytest

from bench.errors import HomeError
from bench.protocol import protocols
from bench.protocol.spec import TARGETS
from bench.records.record import Record
from bench.seismic import metrics
from leaderboard.build import render
from leaderboard.load import records as load_records
from leaderboard.load import results
from leaderboard.tables import comparison, overview
from leaderboard.tables.assembly import gather
from leaderboard.tables.boards import Board

FULL = {"percents": (100,), "pretraining": False, "maps": False}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of three methods on the whole training sets."""
    folder = tmp_path_factory.mktemp("home")
    factory.populate(folder, (factory.BASELINE, factory.FFT, factory.LORA), **FULL)
    return folder


@pytest.fixture(scope="module")
def board(home: Path) -> Board:
    (only,) = gather(results.read([home]))
    return only


def _tree(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def _html(folder: Path) -> str:
    return "\n".join(p.read_text(encoding="utf-8") for p in sorted(folder.rglob("*.html")))


def _records(home: Path) -> list[dict]:
    return [json.loads(p.read_text()) for p in home.glob("runs/*/record.json")]


def _means(home: Path, method: str, metric: str, own: bool) -> list[float]:
    """Scores in or out of distribution, straight from the JSON files."""
    return [
        cell["scores"][metric]
        for record in _records(home)
        for cell in _cells(record)
        if record["spec"]["method"]["name"] == method
        and (cell["test_set"]["dataset"] in record["spec"]["datasets"]) == own
    ]


def _cells(record: dict) -> list[dict]:
    return [cell for evaluation in record["evaluations"] for cell in evaluation["cells"]]


def test_table_has_the_means_of_the_records(home: Path, board: Board) -> None:
    frame = overview.frame(overview.rows(board))
    assert sorted(frame["method"]) == ["baseline", "fft", "lora"]
    for row in frame.to_dicts():
        for metric in ("mae", "rmse", "ssim", "edge"):
            for view, own in (("id", True), ("ood", False)):
                expected = np.mean(_means(home, row["method"], metric, own))
                assert row[f"{view}_{metric}"] == pytest.approx(expected, rel=1e-6)
                assert row[f"{view}_{metric}_low"] < expected < row[f"{view}_{metric}_high"]
        assert row["lowdata_mae"] is None  # only 100 % was run
        assert row["seeds"] == 2


def test_gain_is_the_papers(home: Path, board: Board) -> None:
    """100·(FFT − LoRA)/FFT, by cell, then averaged; negative of nothing for the reference."""
    cells: dict[tuple, dict[str, list[float]]] = {}
    for record in _records(home):
        name = record["spec"]["method"]["name"]
        for cell in _cells(record):
            dataset = cell["test_set"]["dataset"]
            if dataset not in record["spec"]["datasets"]:
                key = (record["spec"]["datasets"][0], dataset)
                cells.setdefault(key, {}).setdefault(name, []).append(cell["scores"]["mae"])
    assert len(cells) == 12
    gains = [
        100 * (np.mean(c["fft"]) - np.mean(c["lora"])) / np.mean(c["fft"]) for c in cells.values()
    ]
    rows = {row["method"]: row for row in overview.frame(overview.rows(board)).to_dicts()}
    assert rows["lora"]["ood_mae_gain_percent"] == pytest.approx(np.mean(gains), rel=1e-4)
    assert rows["lora"]["ood_mae_gain_low"] > 0  # built to be 14 % better
    assert rows["fft"]["ood_mae_gain_percent"] is None


def test_ranks_are_shared_where_the_data_cannot_tell(tmp_path: Path) -> None:
    twins = (factory.FFT, factory.Fake(name="twin", category="full"), factory.BASELINE)
    factory.populate(tmp_path, twins, **FULL)
    (board,) = gather(results.read([tmp_path]))
    rows = {row["method"]: row for row in overview.frame(overview.rows(board)).to_dicts()}
    assert (rows["fft"]["ood_rank"], rows["fft"]["ood_worst_rank"]) == (1, 2)
    assert (rows["twin"]["ood_rank"], rows["twin"]["ood_worst_rank"]) == (1, 2)
    assert rows["baseline"]["ood_rank"] == 3


def test_an_incomplete_method_is_shown_without_a_rank(tmp_path: Path) -> None:
    factory.populate(tmp_path, (factory.FFT,), **FULL)
    factory.populate(tmp_path, (factory.LORA,), targets=TARGETS[:3], **FULL)
    failed = factory.make(tmp_path, factory.LORA, TARGETS[3:], status="failed")
    (board,) = gather(results.read([tmp_path]))
    rows = {row["method"]: row for row in overview.frame(overview.rows(board)).to_dicts()}
    assert rows["lora"]["record"] == "incomplete" and rows["fft"]["record"] == "local"
    assert rows["lora"]["ood_rank"] is None and rows["lora"]["ood_mae"] is None
    report = render.build([tmp_path], tmp_path / "site")
    index = report.index.read_text(encoding="utf-8")
    assert "3 of 4 fits" in index
    assert str(failed.error) in (report.index.parent / "problems.html").read_text(encoding="utf-8")


def test_a_board_without_a_finished_protocol_says_so(tmp_path: Path) -> None:
    home, sentence = tmp_path / "home", "No method has finished all fits of a protocol yet"
    methods = (factory.FFT, factory.LORA)
    factory.populate(home, methods, targets=TARGETS[:3], **FULL)
    front = render.build([home], tmp_path / "site").index.read_text(encoding="utf-8")
    assert sentence in front
    factory.populate(home, methods, targets=TARGETS[3:], **FULL)
    front = render.build([home], tmp_path / "site").index.read_text(encoding="utf-8")
    assert sentence not in front


def test_downloads_agree(home: Path, tmp_path: Path) -> None:
    site = render.build([home], tmp_path / "site").index.parent
    (csv,) = site.glob("data/*.csv")
    parquet = pl.read_parquet(csv.with_suffix(".parquet"))
    document = json.loads(csv.with_suffix(".json").read_text())
    assert parquet.height == len(document["rows"]) == 3
    assert pl.read_csv(csv)["ood_mae"].to_list() == parquet["ood_mae"].to_list()
    assert [row["ood_mae"] for row in document["rows"]] == parquet["ood_mae"].to_list()
    run = next(site.glob("runs/*.html"))
    Record.model_validate_json(run.with_suffix(".json").read_bytes())
    assert pl.read_parquet(run.with_suffix(".parquet")).height == 4 * factory.SAMPLES


def test_same_records_same_bytes(home: Path, tmp_path: Path) -> None:
    render.build([home], tmp_path / "one")
    render.build([home], tmp_path / "two")
    assert _tree(tmp_path / "one") == _tree(tmp_path / "two")


def test_an_interrupted_report_leaves_the_old_site(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    render.build([home], tmp_path / "site")
    before = _tree(tmp_path / "site")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(render.about, "write", interrupt)
    with pytest.raises(KeyboardInterrupt):
        render.build([home], tmp_path / "site")
    assert _tree(tmp_path / "site") == before
    assert [p.name for p in tmp_path.iterdir()] == ["site"]


def test_a_folder_that_is_not_a_site_is_not_replaced(home: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(HomeError, match="not a leaderboard site"):
        render.build([home], tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_no_records_still_make_a_site(tmp_path: Path) -> None:
    report = render.build([tmp_path / "nothing"], tmp_path / "site")
    assert report.problems == ()
    assert report.index.is_file() and (report.index.parent / "protocol.html").is_file()


def _edit(path: Path, **changes: object) -> None:
    raw = json.loads(path.read_text())
    path.write_text(json.dumps(raw | changes))


def test_bad_records_are_left_out_and_named(tmp_path: Path) -> None:
    """Truncated, from the future, edited, foreign: each with its reason; the others are shown."""
    factory.populate(tmp_path, (factory.FFT, factory.LORA), seeds=(0,), **FULL)
    fft, lora = (
        sorted(p for p in tmp_path.glob("runs/*/record.json") if f'"name": "{n}"' in p.read_text())
        for n in ("fft", "lora")
    )
    fft[0].write_bytes(fft[0].read_bytes()[:700])
    _edit(fft[1], schema_version=99)
    _edit(fft[2], run_id="../../../escape")
    spec = json.loads(lora[0].read_text())["spec"]
    _edit(lora[0], spec=spec | {"seed": 7})
    track = json.loads(lora[3].read_text())["track"]
    _edit(lora[3], track=track | {"fit": {"epochs": 999, "batch": 16}})
    report = render.build([tmp_path], tmp_path / "site")
    reasons = {p.path: p.reason for p in report.problems}
    assert set(reasons) == {*fft[:3], lora[0], lora[3]}
    assert "cannot be read" in reasons[fft[0]]
    assert "schema version 99" in reasons[fft[1]]
    assert "not valid at run_id" in reasons[fft[2]]
    assert "not the hash of its specification" in reasons[lora[0]]
    assert "fingerprint" in reasons[lora[3]]
    assert report.records == 3
    page = (tmp_path / "site" / "problems.html").read_text(encoding="utf-8")
    for path in reasons:
        assert path.parent.name in page
    assert not list(tmp_path.rglob("escape*"))


def test_damaged_files_beside_a_record_spoil_only_themselves(tmp_path: Path) -> None:
    factory.populate(tmp_path, (factory.FFT,), seeds=(0,), percents=(100,), pretraining=False)
    one, two, three, _ = sorted(tmp_path.glob("runs/*"))
    (one / "scores.parquet").write_bytes(b"PAR1 not really")
    (two / "maps.npz").write_bytes((two / "maps.npz").read_bytes()[:500])
    frame = pl.read_parquet(three / "scores.parquet")
    frame.with_columns(pl.col("mae") * 2).write_parquet(three / "scores.parquet")
    report = render.build([tmp_path], tmp_path / "site")
    assert report.records == 4
    assert len(report.problems) == 3
    reasons = {p.path.parent.name: p.reason for p in report.problems}
    assert set(reasons) == {one.name, two.name, three.name}
    assert "do not give the means" in reasons[three.name]
    (board,) = gather(results.read([tmp_path]))
    (row,) = overview.frame(overview.rows(board)).to_dicts()
    assert row["ood_mae"] is not None and row["ood_mae_low"] is None


def test_hostile_text_does_no_harm(tmp_path: Path) -> None:
    evil = factory.Fake(
        name="<script>alert(1)</script>",
        category='"><img src=x onerror=alert(2)>',
        summary="</title><script>alert(3)</script>",
        distribution="../../../etc",
        config={"<b>": "</svg><script>alert(4)</script>"},
    )
    factory.populate(tmp_path / "home", (factory.FFT, evil), seeds=(0,), maps=False)
    factory.make(tmp_path / "home", evil, ("Style_A",), holdout=True)
    render.build([tmp_path / "home"], tmp_path / "site")
    html = _html(tmp_path / "site")
    assert "&lt;script&gt;alert(1)" in html
    for n in range(1, 5):
        assert f"<script>alert({n})" not in html
    assert "<img src=x" not in html
    names = {p.name for p in tmp_path.rglob("*") if p.is_file()}
    assert not any(set(name) & set("<>\"'&") for name in names)
    assert {p.name for p in tmp_path.iterdir()} == {"home", "site"}


def test_other_fingerprints_get_a_table_of_their_own(tmp_path: Path) -> None:
    factory.populate(tmp_path, (factory.FFT, factory.LORA), **FULL)
    other = factory.TRACK.model_copy(update={"version": 2})
    factory.populate(tmp_path, (factory.FFT,), track=other, **FULL)
    boards = gather(results.read([tmp_path]))
    assert [len(b.variants) for b in boards] == [2, 1]
    report = render.build([tmp_path], tmp_path / "site")
    problems = (report.index.parent / "problems.html").read_text(encoding="utf-8")
    fingerprint = factory.fingerprint_of(other)
    assert fingerprint in problems
    assert f"({fingerprint[:8]})" in report.index.read_text(encoding="utf-8")


def test_configs_of_one_method_are_told_apart(tmp_path: Path) -> None:
    ranks = [factory.Fake(name="lora", config={"rank": r, "alpha": 16.0}) for r in (8, 16)]
    factory.populate(tmp_path, ranks, **FULL)
    (board,) = gather(results.read([tmp_path]))
    assert [v.label for v in board.variants] == ["lora rank=16", "lora rank=8"]


def test_a_published_copy_wins_over_the_local_one(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_records, "PUBLISHED", tmp_path / "records")
    run = next(home.glob("runs/*"))
    shutil.copytree(run, tmp_path / "records" / "mini" / run.name)
    found = results.read([home]).fits
    assert found.height == len(_records(home))
    assert found.filter(pl.col("origin") == "published")["run_id"].to_list() == [run.name]


@pytest.mark.exhaustive
@pytest.mark.slow
def test_published_records_are_whole(
    unpublished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the repository publishes is shown without a problem, each run on its track's board."""
    monkeypatch.setattr(load_records, "PUBLISHED", unpublished)
    report = render.build([], tmp_path / "site")
    assert report.problems == ()
    assert report.records == len(list(unpublished.glob("*/*/record.json"))) > 0
    boards = gather(results.read([]))
    assert {b.key.track for b in boards} == {
        p.parent.parent.name for p in unpublished.glob("*/*/record.json")
    }


def test_the_readers_own_board_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_records, "PUBLISHED", tmp_path / "records")
    factory.populate(tmp_path / "made", (factory.FFT, factory.LORA), **FULL)
    shutil.copytree(tmp_path / "made" / "runs", tmp_path / "records" / "mini")
    mine = factory.TRACK.model_copy(update={"version": 2})
    factory.make(tmp_path / "home", factory.FFT, ("Style_A",), track=mine)
    boards = gather(results.read([tmp_path / "home"]))
    assert [(b.track.version, b.fits.height) for b in boards] == [(2, 1), (1, 16)]


@pytest.mark.slow
@pytest.mark.exhaustive
def test_front_page_of_500_records_is_light(tmp_path: Path) -> None:
    methods = [factory.Fake(name=f"m{i:02}", reach=1 - i / 50) for i in range(24)]
    track = factory.TRACK
    factory.populate(tmp_path, (factory.FFT, *methods), seeds=(0,), track=track, maps=False,
                     pretraining=False)  # fmt: skip
    report = render.build([tmp_path], tmp_path / "site")
    assert report.records == 500
    assets = sum(p.stat().st_size for p in (tmp_path / "site" / "assets").iterdir())
    assert report.index.stat().st_size + assets < 1_000_000


def test_other_processes_write_the_same_pages(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = render.build([home], tmp_path / "alone")
    monkeypatch.setattr(render.page_pool, "_WORTH_IT", 1)
    together = render.build([home], tmp_path / "together")
    assert together.pages == alone.pages
    assert _tree(tmp_path / "together") == _tree(tmp_path / "alone")


def test_a_metric_is_one_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Declared in one place, it is in record, table, page of the run, comparison and download;
    runs that lack it show a gap."""
    extra = replace(metrics.get("mae"), name="median", label="Median error", description="New.")
    monkeypatch.setattr(metrics, "METRICS", (*metrics.METRICS, extra))
    factory.populate(tmp_path, (factory.FFT, factory.LORA), extra=(extra,), **FULL)
    factory.populate(tmp_path, (factory.ADAPTER,), **FULL)
    (board,) = gather(results.read([tmp_path]))
    rows = {row["method"]: row for row in overview.frame(overview.rows(board)).to_dicts()}
    assert rows["lora"]["ood_median"] == pytest.approx(rows["lora"]["ood_mae"])
    assert rows["lora"]["ood_median_low"] < rows["lora"]["ood_median"]
    assert rows["adapter"]["ood_median"] is None
    assert rows["adapter"]["ood_mae"] is not None
    found = comparison.compare(
        board, ["lora", "fft"], protocol=protocols.get("ood"), metric=extra, reference="fft"
    )
    assert found.against[0].verdict.count("Median error") == 1
    site = render.build([tmp_path], tmp_path / "site").index.parent
    (csv,) = site.glob("data/*.csv")
    assert "ood_median" in csv.read_text().splitlines()[0]
    assert "Median error" in (site / "index.html").read_text(encoding="utf-8")
    assert "Median error" in next(site.glob("runs/*.html")).read_text(encoding="utf-8")


def test_a_board_from_before_a_metric_was_added_shows_gaps(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = replace(metrics.get("mae"), name="median", label="Median error", description="New.")
    monkeypatch.setattr(metrics, "METRICS", (*metrics.METRICS, extra))
    (board,) = gather(results.read([home]))
    for row in overview.frame(overview.rows(board)).to_dicts():
        assert row["ood_median"] is None
        assert row["ood_mae"] is not None
    built = render.build([home], tmp_path / "site")
    assert built.problems == ()
    assert "Median error" in built.index.read_text(encoding="utf-8")


@pytest.mark.skipif(os.name != "posix", reason="links and FIFOs of POSIX")
def test_links_and_pipes_are_not_followed(tmp_path: Path) -> None:
    factory.populate(tmp_path / "home", (factory.FFT,), seeds=(0,), **FULL)
    one, two, three, _ = sorted((tmp_path / "home").glob("runs/*"))
    secret = tmp_path / "secret.json"
    secret.write_bytes((one / "record.json").read_bytes())
    (one / "record.json").unlink()
    (one / "record.json").symlink_to(secret)
    (two / "record.json").unlink()
    os.mkfifo(two / "record.json")
    (three / "scores.parquet").unlink()
    (three / "scores.parquet").symlink_to(secret)
    report = render.build([tmp_path / "home"], tmp_path / "site")
    reasons = {p.path.parent.name: p.reason for p in report.problems}
    assert set(reasons) == {one.name, two.name, three.name}
    assert "symbolic link" in reasons[one.name] and "symbolic link" in reasons[three.name]
    assert "not a regular file" in reasons[two.name]
    assert report.records == 2


@pytest.mark.exhaustive
@pytest.mark.slow
def test_ranks_do_not_depend_on_chance(home: Path, tmp_path: Path) -> None:
    """Nothing is drawn: the same records give the same table, whatever NumPy's seed."""
    frames = []
    for seed in range(30):
        np.random.seed(seed)  # noqa: NPY002
        (board,) = gather(results.read([home]))
        frames.append(overview.frame(overview.rows(board)))
    assert all(frame.equals(frames[0]) for frame in frames)
