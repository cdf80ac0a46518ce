"""The speed page: training loops as ratios to a plain one, machines as columns."""

from leaderboard.figures import palette
from leaderboard.pages.site_files import Site
from leaderboard.pages.urls import Urls
from leaderboard.tables.boards import Board
from leaderboard.tables.speeds import Table


def write(site: Site, board: Board, urls: Urls, table: Table) -> None:
    """Write the page of a board's network, and its measurements for download."""
    for one in table.measured:
        site.file(one.file, (one.content.model_dump_json(indent=1) + "\n").encode())
    site.page(
        urls.page(board, "speed"),
        "speed",
        table=table,
        signs={r.variant.key: palette.sign(r.variant) for r in table.rows if r.variant},
        kept=[row.name for row in table.rows if any(s and s.prefix_bytes for s in row.speeds)],
        **urls.common(board),
    )
