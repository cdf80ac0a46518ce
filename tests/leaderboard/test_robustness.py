"""Shift and retention of the published runs, worked out again from their JSON."""

import json
from collections import defaultdict
from pathlib import Path
from statistics import mean

import pytest
from factory import usual

from bench.protocol.conditions import CONDITIONS
from bench.protocol.spec import PRETRAINING, TARGETS
from leaderboard.load import records, results
from leaderboard.tables import robustness
from leaderboard.tables.assembly import gather
from leaderboard.tables.boards import Board

Scores = dict[tuple[str, int], dict[tuple[str, str, str], float]]


SEEDS = range(6)


@pytest.fixture(scope="module")
def board(unpublished: Path) -> Board:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "PUBLISHED", unpublished / "small")
        return next(b for b in gather(results.read([])) if b.key.backbone == "inversionnet_quarter")


@pytest.fixture(scope="module")
def plain(unpublished: Path) -> Scores:
    """MAE by (method with default config, seed) and (target, test dataset, condition)."""
    found: Scores = defaultdict(dict)
    for path in (unpublished / "small").glob("*/record.json"):
        record = json.loads(path.read_text())
        spec = record["spec"]
        if spec["kind"] != "adaptation" or not usual(spec["method"]["config"]):
            continue
        if spec["percent"] != 100 or spec["holdout"]:
            continue
        if spec["backbone"]["name"] != "inversionnet_quarter":
            continue
        for evaluation in record["evaluations"]:
            for cell in evaluation["cells"]:
                test = cell["test_set"]
                key = (spec["datasets"][0], test["dataset"], test["condition"])
                found[spec["method"]["name"], spec["seed"]][key] = cell["scores"]["mae"]
    return found


def test_shift_is_the_mean_over_targets_and_seeds(board: Board, plain: Scores) -> None:
    lines = dict(robustness.shift(board))
    labels = {"clean": "clean"} | {c.name: c.label for c in CONDITIONS}
    keys = {v.name: v.key for v in board.variants if v.key in lines["clean"]}
    keys |= {v.name: v.key for v in board.variants if v.label == v.name}
    for name in ("none", "fft", "lora", "adapter", "bitfit"):
        for condition, label in labels.items():
            cells = [plain[name, s][t, t, condition] for s in SEEDS for t in TARGETS]
            value = lines[label][keys[name]]
            assert value.mae == pytest.approx(mean(cells))
            clean = [plain[name, s][t, t, "clean"] for s in SEEDS for t in TARGETS]
            assert value.to_clean == pytest.approx(mean(cells) / mean(clean))
    assert lines["noise, 0 dB"][keys["none"]].mae > lines["noise, 20 dB"][keys["none"]].mae


def test_retention_of_the_untouched_foundation_is_its_own_score(
    board: Board, plain: Scores
) -> None:
    lines = dict(robustness.retention(board))
    keys = {v.name: v.key for v in board.variants if usual(v.config)}
    for dataset in PRETRAINING:
        assert lines[dataset][keys["none"]].to_untouched == 1
        one = [plain["none", 0][target, dataset, "clean"] for target in TARGETS]
        # The same network, on a GPU that may choose another kernel each time
        assert max(one) - min(one) < 1e-5
        cells = [plain["fft", s][t, dataset, "clean"] for s in SEEDS for t in TARGETS]
        assert lines[dataset][keys["fft"]].mae == pytest.approx(mean(cells))
