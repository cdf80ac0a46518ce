"""The error explorer: where do the methods fail? Every test sample of a cell, sorted by error."""

from collections.abc import Mapping

from bench.protocol.protocols import others
from bench.protocol.spec import TARGETS
from leaderboard.figures import palette
from leaderboard.pages.site_files import Site
from leaderboard.pages.urls import Urls
from leaderboard.tables import errors
from leaderboard.tables.boards import Board

Maps = Mapping[tuple[str, str], Mapping[int, str]]
"""Training and test dataset: the address of the maps of each sample that the gallery shows."""


def write(site: Site, board: Board, urls: Urls, maps: Maps) -> None:
    """Write a page for each cell with all of the training data, the first under the plain name."""
    found = {
        (train, test): errors.of_cell(board, train, test)
        for train in TARGETS
        for test in (train, *others(train))
    }
    cells = [cell for cell, (_, samples) in found.items() if samples]
    files = {
        cell: urls.page(board, "errors" if place == 0 else f"errors-{cell[0]}-{cell[1]}")
        for place, cell in enumerate(cells)
    }
    for cell in cells:
        methods, samples = found[cell]
        site.page(
            files[cell],
            "errors",
            train=cell[0],
            test=cell[1],
            cells=cells,
            files=files,
            methods=methods,
            samples=samples,
            maps=maps.get(cell, {}),
            signs={v.key: palette.sign(v) for v in methods},
            **urls.common(board),
        )
