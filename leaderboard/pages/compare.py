"""Method × method: paired differences, on average and cell by cell."""

from dataclasses import dataclass

from bench.protocol.protocols import Protocol, others
from bench.protocol.spec import TARGETS, TestSet
from bench.seismic import metrics
from leaderboard.figures import palette
from leaderboard.pages import long_tables
from leaderboard.pages.site_files import Site
from leaderboard.pages.urls import Urls
from leaderboard.stats import comparisons
from leaderboard.stats.comparisons import Comparison
from leaderboard.tables import values
from leaderboard.tables.boards import Board
from leaderboard.tables.overview import ranked
from leaderboard.tables.protocol_cells import one_cell
from leaderboard.tables.standings import comparable
from leaderboard.tables.variants import Variant

Pairs = dict[tuple[str, str], Comparison]
"""Row − column, by keys of methods, both ways round."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """All pairs in one protocol or cell."""

    label: str
    name: str
    methods: tuple[Variant, ...]
    seeds: tuple[int, ...]
    pairs: Pairs


def write(site: Site, board: Board, urls: Urls) -> None:
    """Write a matrix per protocol, and a page per method with its differences per cell."""
    matrices = [m for view in ranked() if (m := _matrix(board, view))]
    cells = [m for train in TARGETS for m in _cells(board, train)]
    signs = {v.key: palette.sign(v) for v in board.variants}
    site.page(
        urls.page(board, "compare"),
        "compare",
        matrices=matrices,
        switch=[(m.name, m.label) for m in matrices],
        signs=signs,
        difference=long_tables.difference,
        **urls.common(board),
    )
    for variant in board.variants:
        site.page(
            urls.comparison(board, variant),
            "compare_method",
            variant=variant,
            others=[v for v in board.variants if v is not variant],
            matrices=matrices,
            cells=cells,
            signs=signs,
            difference=long_tables.difference,
            **urls.common(board),
        )


def _cells(board: Board, train: str) -> list[Matrix]:
    tests = (TestSet(dataset=name) for name in (train, *others(train)))
    return [m for test in tests if (m := _matrix(board, one_cell(train, 100, test)))]


def _matrix(board: Board, protocol: Protocol) -> Matrix | None:
    methods, seeds = comparable(board, protocol)
    metric = metrics.METRICS[0]
    found = values.scores(board, methods, protocol, seeds, metric) if len(methods) > 1 else None
    if found is None:
        return None
    moments = found.moments()
    pairs = {
        (methods[a].key, methods[b].key): comparison
        for (a, b), comparison in comparisons.all_pairs(moments, better="lower").items()
    }
    order = sorted(range(len(methods)), key=lambda i: moments.means[i])
    best_first = tuple(methods[i] for i in order)
    return Matrix(protocol.label, protocol.name, best_first, seeds, pairs)
