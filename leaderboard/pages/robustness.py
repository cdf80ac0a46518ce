"""The robustness page: changed acquisition, retention, and the misfit of the data."""

from leaderboard.load.records import Problem
from leaderboard.pages.site_files import Site
from leaderboard.pages.urls import Urls
from leaderboard.tables import misfits, robustness
from leaderboard.tables.boards import Board


def write(site: Site, board: Board, urls: Urls) -> list[Problem]:
    """Write a table for each; returns files that could not be used."""
    shift, retention = robustness.shift(board), robustness.retention(board)
    lines, problems = misfits.table(board)
    site.page(
        urls.page(board, "robustness"),
        "robustness",
        shift=shift,
        shift_methods=robustness.tested(board, shift),
        retention=retention,
        retention_methods=robustness.tested(board, retention),
        untouched=robustness.UNTOUCHED,
        misfits=lines,
        **urls.common(board),
    )
    return problems
