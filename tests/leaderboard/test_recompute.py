"""The published board against `examples/recompute.py`, which has none of the harness's code."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import matrix
import pytest

from bench.protocol import protocols
from bench.protocol.protocols import Protocol
from leaderboard.load import records, results
from leaderboard.tables import severity
from leaderboard.tables.assembly import gather
from leaderboard.tables.boards import Board
from leaderboard.tables.standings import standings

PROTOCOLS = ("id", "ood", "retention", "shift", "lowdata 10 %", "lowdata 25 %")
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
def boards(unpublished: Path) -> list[Board]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "PUBLISHED", unpublished)
        return gather(results.read([]))


def _board(boards: list[Board], track: str, backbone: str) -> Board:
    """That of protocol v2: v1 had no method `none`."""
    own = (b for b in boards if (b.key.track, b.key.backbone) == (track, backbone))
    return next(b for b in own if "none" in {v.name for v in b.variants})


def _protocol(name: str) -> Protocol:
    word, _, percent = name.partition(" ")
    found = protocols.get(word)
    if not percent:
        return found
    share = int(percent.split()[0])
    slots = tuple(slot for slot in found.fits if slot.percent == share)
    return replace(found, name=name, slots=slots)


@pytest.mark.parametrize(
    ("track", "backbone", "name"),
    matrix.rows(
        [
            *(("small", "inversionnet_quarter", name) for name in PROTOCOLS),
            *(("small", "hybrid_vit", name) for name in ("id", "ood")),
            *(("mini", "inversionnet", name) for name in ("id", "ood")),
        ],
        ("small", "inversionnet_quarter", "ood"),
        ("mini", "inversionnet", "id"),
    ),
)
def test_the_board_is_what_the_scores_say(
    boards: list[Board],
    recompute: ModuleType,
    unpublished: Path,
    track: str,
    backbone: str,
    name: str,
) -> None:
    board = _board(boards, track, backbone)
    expected = recompute.rows(recompute.read(unpublished / track, backbone), name)
    found = standings(board, _protocol(name))
    shown = {v.label.partition(" version")[0]: found[v.key] for v in board.variants}
    settled = {label for label, standing in shown.items() if len(standing.seeds) > 1}
    assert set(expected) == settled
    assert len(settled) >= 3
    for label, row in expected.items():
        standing = shown[label]
        mean = standing.scores["mae"].estimate
        assert mean
        assert standing.ratio
        assert mean.seeds == len(standing.seeds) == row.seeds
        assert mean.value == pytest.approx(row.mean, abs=1e-12)
        assert (mean.high - mean.low) / 2 == pytest.approx(row.half_interval, abs=1e-12)
        assert standing.ratio.value == pytest.approx(row.times_floor, abs=1e-12)
        unranked = row.against is None or "learning_rate_scale" in label
        assert (standing.comparison is None) == unranked
        if standing.comparison and row.against:
            difference = standing.comparison.difference
            half = (difference.high - difference.low) / 2
            assert difference.seeds == row.against.seeds
            assert difference.value == pytest.approx(row.against.difference, abs=1e-12)
            assert half == pytest.approx(row.against.half_interval, abs=1e-12)
        if row.against:
            gain = standing.gains["mae"]
            assert gain.seeds == row.against.seeds
            assert gain.value == pytest.approx(row.against.gain_percent, abs=1e-9)


@pytest.mark.exhaustive
def test_errors_under_each_condition_are_what_the_scores_say(
    boards: list[Board], recompute: ModuleType, unpublished: Path
) -> None:
    found = recompute.read(unpublished / "small", "inversionnet_quarter")
    shown = severity.of(_board(boards, "small", "inversionnet_quarter"))
    assert shown
    keys = {v.label.partition(" version")[0]: v.key for v in shown.variants}
    for condition in ("clean", *recompute.CHANGES):
        cells = [(t, t, condition) for t in recompute.TARGETS]
        for label in ("fft", "lora", "none"):
            mean, half = recompute.interval(found[label, 100], cells, list(shown.seeds))
            error = shown.errors[condition][keys[label]]
            assert (error.value, error.high - error.low) == pytest.approx((mean, 2 * half))
