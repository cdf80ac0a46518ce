"""All results to boards, in the order in which the site shows them."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from leaderboard.load.results import FOUNDATION, Results
from leaderboard.tables import marks, variants
from leaderboard.tables.boards import Board


def gather(results: Results) -> list[Board]:
    """Boards, the one with the most records of one's own first, trials last.

    Then published ones: the newest rules first, the track's own network, the largest.
    """
    labels = variants.labels(results.fits)
    order = marks.indices(_methods(results, labels))
    boards = []
    for key, (track, rules) in results.protocols.items():
        fits = results.fits.filter(pl.col("board") == key.slug)
        ids = fits.select("run_id")
        boards.append(
            Board(
                key=key,
                track=track,
                rules=rules,
                fits=fits,
                cells=results.cells.join(ids, on="run_id", how="semi"),
                samples=results.samples.of(ids),
                variants=variants.of_fits(fits, labels, order),
                foundation=variants.foundation(fits, order[FOUNDATION]),
            )
        )
    return sorted(boards, key=_order)


def _methods(results: Results, labels: Mapping[str, str]) -> list[list[str]]:
    """Keys of the methods of each board, the board with the most records first.

    The foundation comes before all others, for it is on every board, and configs other than a
    method's usual one come last: where colours and signs run out they share them.
    """
    own = results.fits.filter(pl.col("variant").is_in(list(labels)))
    by_board = own.group_by("board").agg(pl.len(), pl.col("variant").unique())
    rows = sorted(by_board.iter_rows(), key=lambda row: (-row[1], row[0]))

    def place(key: str) -> tuple[bool, str, str]:
        return " " in labels[key], labels[key].lower(), key

    return [[FOUNDATION, *sorted(keys, key=place)] for _, _, keys in rows] or [[FOUNDATION]]


def _order(board: Board) -> tuple[Any, ...]:
    other_network = board.key.backbone != board.track.default_backbone
    return (
        board.trial,
        -board.local,
        -board.rules.version,
        other_network,
        -board.fits.height,
        board.key,
    )
