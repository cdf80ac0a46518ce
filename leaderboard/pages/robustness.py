"""The robustness page: retention, and scores under a changed acquisition."""

from leaderboard.pages.site_files import Site
from leaderboard.pages.urls import Urls
from leaderboard.tables import robustness
from leaderboard.tables.boards import Board


def write(site: Site, board: Board, urls: Urls) -> None:
    """Write a table for each protocol, methods side by side."""
    shift, retention = robustness.shift(board), robustness.retention(board)
    site.page(
        urls.page(board, "robustness"),
        "robustness",
        shift=shift,
        shift_methods=robustness.tested(board, shift),
        retention=retention,
        retention_methods=robustness.tested(board, retention),
        untouched=robustness.UNTOUCHED,
        **urls.common(board),
    )
