"""The memory page: what a training step of each method holds, by part, at any batch size."""

from leaderboard.figures import palette
from leaderboard.pages.site_files import Site
from leaderboard.pages.urls import Urls
from leaderboard.tables import memory
from leaderboard.tables.boards import Board


def write(site: Site, board: Board, urls: Urls) -> None:
    """Write the calculator at the track's batch size; a script recomputes it for others."""
    steps = memory.table(board)
    lines = [(v, m) for v in board.variants if (m := steps.get(v.key))]
    batch = board.track.fit.batch
    site.page(
        urls.page(board, "memory"),
        "memory",
        lines=sorted(lines, key=lambda line: line[1].total(batch)),
        signs={v.key: palette.sign(v) for v, _ in lines},
        batch=batch,
        measured=any(m.measured is not None for _, m in lines),
        **urls.common(board),
    )
