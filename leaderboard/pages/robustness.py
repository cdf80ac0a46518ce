"""The robustness page: changed acquisition, retention, and the misfit of the data."""

from bench.protocol import protocols
from leaderboard.figures import forgetting as forgetting_figure
from leaderboard.figures import palette
from leaderboard.figures import severity as severity_figure
from leaderboard.load.records import Problem
from leaderboard.pages.site_files import Site
from leaderboard.pages.urls import Urls
from leaderboard.tables import forgetting, misfits, robustness, severity
from leaderboard.tables.boards import Board


def write(site: Site, board: Board, urls: Urls) -> list[Problem]:
    """Write figures and a table for each; returns files that could not be used."""
    shift, retention = robustness.shift(board), robustness.retention(board)
    severities = severity.of(board)
    trades = forgetting.trades(board)
    scatters = [
        (name, figure)
        for name in forgetting.GAINED
        if (figure := forgetting_figure.scatter(trades, name))
    ]
    lines, problems = misfits.table(board)
    site.page(
        urls.page(board, "robustness"),
        "robustness",
        shift=shift,
        shift_methods=robustness.tested(board, shift),
        panels=severity_figure.panels(severities) if severities else [],
        severities=severities,
        intervals=severities.by_label if severities else None,
        shift_variants=[(v, palette.sign(v)) for v in severities.variants] if severities else [],
        retention=retention,
        retention_methods=robustness.tested(board, retention),
        scatters=scatters,
        trades=trades,
        trade_variants=[
            (v, palette.sign(v)) for v in board.variants if v in [t.variant for t in trades]
        ],
        gained=[(name, protocols.get(name).label) for name, _ in scatters],
        untouched=robustness.UNTOUCHED,
        misfits=lines,
        **urls.common(board),
    )
    return problems
