"""Counted costs where methods were trained in different precision."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from leaderboard.load import records, results
from leaderboard.tables import memory
from leaderboard.tables.assembly import gather
from leaderboard.tables.boards import Board
from leaderboard.tables.overview import rows

HALF, SINGLE = 4225256, 8450512
"""Bytes a sample that full fine-tuning of `inversionnet_quarter` saves: two or four an element."""


@pytest.fixture(scope="module")
def board(unpublished: Path) -> Board:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "PUBLISHED", unpublished / "small")
        boards = gather(results.read([]))
    return next(b for b in boards if b.key.backbone == "inversionnet_quarter")


def saved(board: Board) -> dict[str, tuple[float | None, float | None]]:
    """Bytes saved on the front page and on the memory page, by label."""
    steps = memory.table(board)
    return {
        row.variant.label: (
            row.costs["saved_bytes_per_sample"],
            steps[row.variant.key].saved_per_sample if row.variant.key in steps else None,
        )
        for row in rows(board)
    }


def test_bytes_saved_stand_beside_each_other_in_one_precision(board: Board) -> None:
    """Three seeds are from a GPU, in bfloat16, the others in float32: no median mixes them."""
    seeds = {s for (s,) in board.fits.filter(numerics="bfloat16").select("seed").unique().rows()}
    assert seeds >= {0, 1, 2}
    half = replace(board, fits=board.fits.filter(pl.col("seed") < 3))
    even = replace(board, fits=board.fits.filter(pl.col("seed").is_in([0, 1, 3, 4])))
    assert (half.numerics, saved(half)["fft"]) == ("bfloat16", (HALF, HALF))
    assert saved(even)["fft"] in ((HALF, HALF), (SINGLE, SINGLE))


def test_bytes_in_another_precision_are_left_out(board: Board) -> None:
    """LoRA in float32 alone among methods in bfloat16 would look twice as costly as it is."""
    single = (pl.col("seed") >= 3) == (pl.col("method") == "lora")
    mixed = replace(board, fits=board.fits.filter(single))
    found = saved(mixed)
    assert mixed.numerics == "bfloat16"
    assert found["lora"] == (None, None)
    assert found["fft"] == (HALF, HALF)
    (lora,) = (row for row in rows(mixed) if row.variant.label == "lora")
    assert lora.costs["trainable_parameters"] == 287552
