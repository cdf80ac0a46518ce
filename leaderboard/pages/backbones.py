"""The backbones page: the order of the same methods on each network of a track."""

from collections.abc import Sequence

from leaderboard.figures import order, palette
from leaderboard.pages.site_files import Site
from leaderboard.pages.urls import Urls
from leaderboard.tables.backbones import Orders
from leaderboard.tables.boards import Board


def write(site: Site, board: Board, urls: Urls, found: Sequence[Orders]) -> None:
    """Write a figure and a table for each protocol."""
    chosen = next((o for o in found if o.protocol.name == "ood"), found[0])
    labels = {v.key: v.label for o in found for v in o.variants}
    variants = {v.key: v for o in found for v in o.variants}
    site.page(
        urls.page(board, "backbones"),
        "backbones",
        orders=[(o, order.bumps(o)) for o in found],
        switch=[(o.protocol.name, o.protocol.label) for o in found],
        chosen=chosen.protocol.name,
        variants=[(variants[key], palette.sign(variants[key])) for key in labels],
        fronts={b.key: urls.front(b) for b in urls.boards},
        **urls.common(board),
    )
