"""The published board against `examples/recompute.py`, which has none of the harness's code."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bench.protocol import protocols
from bench.protocol.protocols import Protocol
from bench.seismic import metrics
from leaderboard.load import records, results
from leaderboard.tables import severity, values
from leaderboard.tables.assembly import gather
from leaderboard.tables.boards import Board
from leaderboard.tables.standings import comparable

MAE = metrics.get("mae")
SCRIPT = Path(__file__).parents[2] / "examples" / "recompute.py"


@pytest.fixture(scope="module")
def recompute() -> ModuleType:
    spec = importlib.util.spec_from_file_location("recompute", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "recompute", module)  # dataclasses look there
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def board(unpublished: Path) -> Board:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "PUBLISHED", unpublished / "small")
        boards = gather(results.read([]))
    return next(b for b in boards if b.key.backbone == "inversionnet_quarter")


@pytest.fixture(scope="module")
def found(recompute: ModuleType, unpublished: Path) -> Any:
    return recompute.read(unpublished / "small", "inversionnet_quarter")


def _protocol(name: str) -> Protocol:
    word, _, percent = name.partition(" ")
    found = protocols.get(word)
    if not percent:
        return found
    share = int(percent.split()[0])
    slots = tuple(slot for slot in found.fits if slot.percent == share)
    return replace(found, name=name, slots=slots)


@pytest.mark.parametrize(
    "name", ["id", "ood", "retention", "shift", "lowdata 10 %", "lowdata 25 %"]
)
def test_the_board_is_what_the_scores_say(
    board: Board, recompute: ModuleType, found: Any, name: str
) -> None:
    expected = recompute.rows(found, name)
    protocol = _protocol(name)
    variants, seeds = comparable(board, protocol)
    labels = [v.label.partition(" version")[0] for v in variants]
    assert sorted(labels) == sorted(expected)
    assert len(labels) >= 6
    reference = variants[labels.index("fft")]
    array = values.scores(board, variants, protocol, seeds, MAE)
    ratios = values.ratios_to_floor(board, variants, protocol, seeds, MAE)
    gains = values.gains(board, variants, protocol, seeds, MAE, reference)
    assert array
    assert ratios
    assert gains
    moments = array.moments()
    place = labels.index("fft")
    differences = moments.differences(range(len(labels)), [place] * len(labels))
    columns = zip(
        labels,
        moments.estimates(),
        ratios.moments().estimates(),
        gains.moments().estimates(),
        differences,
        strict=True,
    )
    for label, mean, ratio, gain, difference in columns:
        row = expected[label]
        assert mean.seeds == row.seeds
        assert mean.value == pytest.approx(row.mean, abs=1e-12)
        assert (mean.high - mean.low) / 2 == pytest.approx(row.half_interval, abs=1e-12)
        assert ratio.value == pytest.approx(row.times_floor, abs=1e-12)
        assert gain.value == pytest.approx(row.gain_percent, abs=1e-9)
        assert difference.value == pytest.approx(row.difference, abs=1e-12)
        half = (difference.high - difference.low) / 2
        assert half == pytest.approx(row.half_interval_of_difference, abs=1e-12)


def test_errors_under_each_condition_are_what_the_scores_say(
    board: Board, recompute: ModuleType, found: Any
) -> None:
    shown = severity.of(board)
    assert shown
    keys = {v.label.partition(" version")[0]: v.key for v in shown.variants}
    for condition in ("clean", *recompute.CHANGES):
        cells = [(t, t, condition) for t in recompute.TARGETS]
        for label in ("fft", "lora", "none"):
            mean, half = recompute.interval(found[label, 100], cells, list(shown.seeds))
            error = shown.errors[condition][keys[label]]
            assert (error.value, error.high - error.low) == pytest.approx((mean, 2 * half))
