"""Order by backbone, gain against loss, error against severity: worked out again from the JSON."""

import json
import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from statistics import mean

import numpy as np
import polars as pl
import pytest
from factory import usual

from bench.protocol import protocols
from bench.protocol.protocols import others
from bench.protocol.spec import PRETRAINING, TARGETS
from leaderboard.figures import forgetting as forgetting_figure
from leaderboard.figures import order as order_figure
from leaderboard.figures import palette, svg
from leaderboard.figures import severity as severity_figure
from leaderboard.load import records, results
from leaderboard.tables import backbones, forgetting, marks, robustness, severity, worst
from leaderboard.tables.assembly import gather
from leaderboard.tables.boards import Board

Cells = dict[tuple[str, str], dict[tuple[str, str, str], list[float]]]


@pytest.fixture(scope="module")
def boards(unpublished: Path) -> list[Board]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "PUBLISHED", unpublished)
        return gather(results.read([]))


@pytest.fixture(scope="module")
def board(boards: list[Board]) -> Board:
    return next(b for b in boards if b.key.backbone == "inversionnet_quarter")


@pytest.fixture(scope="module")
def cells(unpublished: Path) -> Cells:
    """MAE of all seeds by (backbone, method) and (fitted on, tested on, condition)."""
    found: Cells = defaultdict(lambda: defaultdict(list))
    for path in (unpublished / "small").glob("*/record.json"):
        record = json.loads(path.read_text())
        spec = record["spec"]
        if spec["kind"] != "adaptation" or not usual(spec["method"]["config"]):
            continue
        if spec["percent"] != 100 or spec["holdout"]:
            continue
        for evaluation in record["evaluations"]:
            for cell in evaluation["cells"]:
                test = cell["test_set"]
                key = (spec["datasets"][0], test["dataset"], test["condition"])
                who = (spec["backbone"]["name"], spec["method"]["name"])
                found[who][key].append(cell["scores"]["mae"])
    return found


def _out(cells: Cells, backbone: str, method: str) -> float:
    own = cells[backbone, method]
    return mean(mean(own[a, b, "clean"]) for a in TARGETS for b in others(a))


def test_the_order_on_each_backbone_is_that_of_the_records(
    boards: list[Board], board: Board, cells: Cells
) -> None:
    related = backbones.related(board, boards)
    assert [b.key.backbone for b in related] == [
        "caformer_unet",  # of which one target was not run
        "hybrid_vit",
        "inversionnet_quarter",
    ]
    found = backbones.orders(related, protocols.get("ood"))
    assert found and found.left_out == ("caformer_unet",)
    names = {v.key: v.name for v in found.variants}
    assert set(names.values()) == {"none", "fft", "lora", "bitfit", "baseline"}
    for column in found.columns:
        expected = {n: _out(cells, column.board.key.backbone, n) for n in names.values()}
        listed = [names[key] for key in column.ranked]
        assert listed == sorted(expected, key=lambda n: expected[n])
        for key, ranked in column.ranked.items():
            assert ranked.score.value == pytest.approx(expected[names[key]], abs=1e-6)
            assert ranked.rank <= column.place(key) <= ranked.worst_rank
    one, other = ([names[k] for k in c.ranked] for c in found.columns)
    same = sum(
        (one.index(a) < one.index(b)) == (other.index(a) < other.index(b))
        for a in one
        for b in one
        if a < b
    )
    assert found.verdict.startswith(f"{same} of 10 pairs")
    figure = order_figure.bumps(found)
    assert figure.count('class="ranks"') == 2 * 5 == figure.count('class="dot"')
    description = re.sub(r" \(rank [^)]*\)", "", figure.split("<desc>")[1].split("</desc>")[0])
    assert description.split("; ")[1] == "inversionnet_quarter: " + ", ".join(other)


def test_other_rules_and_few_common_methods_give_no_order(
    boards: list[Board], board: Board
) -> None:
    mini = next(b for b in boards if b.key.track == "mini")
    assert backbones.related(mini, boards) == [mini]
    view = protocols.get("ood")
    two = [v for v in board.variants if v.name in ("fft", "lora")]
    small = next(b for b in boards if b.key.backbone == "hybrid_vit")
    assert backbones.orders([board], view) is None
    assert backbones.orders([replace(board, variants=tuple(two)), small], view) is None


def test_a_backbone_with_too_few_of_the_methods_is_named(boards: list[Board], board: Board) -> None:
    """It would leave hardly anything to put in order."""
    vit = next(b for b in boards if b.key.backbone == "hybrid_vit")
    two = tuple(v for v in board.variants if v.name in ("bitfit", "lora"))
    tiny = replace(board, key=replace(board.key, backbone="tiny"), variants=two)
    found = backbones.orders([vit, board, tiny], protocols.get("ood"))
    assert found and found.left_out == ("tiny",)
    assert len(found.columns) == 2 and len(found.variants) == 5


def test_a_reversed_order_is_told(boards: list[Board], board: Board) -> None:
    """The same records with two methods exchanged on one side: their pair is opposite."""
    view = protocols.get("ood")
    names = {v.key: v.label for v in board.variants}
    none = next(k for k, label in names.items() if label == "none")
    fft = next(k for k, label in names.items() if label == "fft")
    swap = {none: fft, fft: none}
    key = pl.col("variant").replace(swap)
    turned = replace(
        board,
        key=replace(board.key, backbone="other"),
        fits=board.fits.with_columns(key),
    )
    found = backbones.orders([board, turned], view)
    assert found and "resolved in opposite order: " in found.verdict
    assert "fft and none" in found.verdict.split("opposite order: ")[1]


def test_gain_and_loss_are_differences_to_the_untouched_foundation(
    board: Board, cells: Cells
) -> None:
    found = {t.variant.label: t for t in forgetting.trades(board)}
    assert list(found) == sorted(found, key=lambda n: found[n].loss.value)
    assert "none" not in found

    def kept(method: str) -> float:
        own = cells["inversionnet_quarter", method]
        return mean(mean(own[a, d, "clean"]) for a in TARGETS for d in PRETRAINING)

    def inside(method: str) -> float:
        own = cells["inversionnet_quarter", method]
        return mean(mean(own[a, a, "clean"]) for a in TARGETS)

    for name in ("fft", "lora", "adapter", "bitfit", "baseline"):
        trade = found[name]
        assert trade.loss.value == pytest.approx(kept(name) - kept("none"), abs=1e-6)
        gain = trade.gains["id"]
        assert gain.value == pytest.approx(inside("none") - inside(name), abs=1e-6)
        away = trade.gains["ood"].value
        places = [_out(cells, "inversionnet_quarter", n) for n in ("none", name)]
        assert away == pytest.approx(places[0] - places[1], abs=1e-6)
        assert gain.low < gain.value < gain.high
    figure = forgetting_figure.scatter(list(found.values()), "id")
    assert figure and figure.count('class="err"') == 2 * len(found)


def test_without_the_untouched_foundation_nothing_is_gained_or_lost(board: Board) -> None:
    others_only = tuple(v for v in board.variants if v.name != robustness.UNTOUCHED)
    assert forgetting.trades(replace(board, variants=others_only)) == []


def test_severity_rises_from_the_clean_records_or_to_both_sides(board: Board) -> None:
    found = severity.of(board)
    assert found
    ticks = {s.name: [step.tick for step in s.steps] for s in found.series}
    assert ticks["noise"] == ["clean", "20 dB", "10 dB", "0 dB"]
    assert ticks["dead receivers"] == ["clean", "10 %", "30 %"]
    assert ticks["gain"] == ["× 0.5", "clean", "× 2"]
    assert ticks["source"] == ["10 Hz", "clean", "20 Hz"]
    assert ticks["dead shot"] == ["clean", "1 of 5"]
    table = dict(robustness.shift(board))
    labels = ("clean", "noise, 20 dB", "noise, 10 dB", "noise, 0 dB")
    (noise,) = (s for s in found.series if s.name == "noise")
    for step, label in zip(noise.steps, labels, strict=True):
        assert len(step.errors) > 5
        for key, error in step.errors.items():  # of the methods with three seeds or more
            assert error.value == pytest.approx(table[label][key].mae, abs=1e-6)
    panels = severity_figure.panels(found)
    assert len(panels) == len(ticks)
    assert all(panel.count('class="series"') == len(found.variants) for panel in panels)


def test_methods_of_a_board_have_colours_and_signs_of_their_own(boards: list[Board]) -> None:
    assert (len(palette.COLOURS), len(svg.SHAPES)) == (marks.COLOURS, marks.SIGNS)
    for board in boards:
        assert board.foundation
        indices = [v.index for v in (board.foundation, *board.variants)]
        assert len({i % marks.SIGNS for i in indices}) == min(len(indices), marks.SIGNS)
        assert len({(i % marks.COLOURS, i % marks.SIGNS) for i in indices}) == len(indices)
    first = max(boards, key=lambda b: b.fits.height)
    assert first.foundation
    bare = [v for v in (first.foundation, *first.variants) if " " not in v.label]
    assert len({v.index % marks.COLOURS for v in bare}) == len(bare) == 7
    found = marks.indices([["a", "b", "c"], ["d", "b", "e", "f", "g", "h", "i", "j"], ["k", "a"]])
    assert len(set(found.values())) == len(found) == 11
    assert len({found[k] % marks.SIGNS for k in "dbefghij"}) == marks.SIGNS
    assert len({found[k] % marks.COLOURS for k in "dbefghi"}) == marks.COLOURS
    many = marks.indices([[f"m{i}" for i in range(60)]])
    assert len(set(many.values())) == 60


def test_the_worst_sample_is_that_of_the_file_of_scores(
    boards: list[Board], board: Board, unpublished: Path
) -> None:
    found = worst.samples(board)
    run = min(run for run, _ in found)
    frame = pl.read_parquet(unpublished / "small" / run / "scores.parquet")
    clean = frame.filter(pl.col("split") == "test", pl.col("condition") == "clean")
    for (name,), part in clean.partition_by("dataset", as_dict=True).items():
        errors = part["mae"].to_numpy()
        place = int(np.argmax(errors))
        own = found[run, str(name)]
        assert own.sample == part["sample"][place] and own.of == part.height
        assert own.mae == pytest.approx(float(errors[place]))
