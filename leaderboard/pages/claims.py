"""The claims page: what the paper says, and what the runs of a board say of it."""

from collections import Counter

import polars as pl

from leaderboard.pages.site_files import Site
from leaderboard.pages.urls import Urls
from leaderboard.tables import findings
from leaderboard.tables.boards import Board

_ORDER = (
    *("holds", "does not hold", "depends on the average", "depends on the measure"),
    *("not resolved", "not run"),
)


def write(site: Site, board: Board, urls: Urls, paper: pl.DataFrame) -> None:
    """Write a row for each claim; the runs behind it are one click away."""
    found = findings.findings(board, paper)
    counts = Counter[str](f.verdict for f in found)
    site.page(
        urls.page(board, "claims"),
        "claims",
        findings=found,
        tested=sum(f.comparison is not None for f in found),
        counts=[(verdict, counts[verdict]) for verdict in _ORDER if counts[verdict]],
        generated=board.track.data.source == "generated",
        **urls.common(board),
    )
