"""Method × method: paired differences, on average and cell by cell."""

from collections import defaultdict
from dataclasses import dataclass
from statistics import mean

from bench.protocol.protocols import Protocol, others
from bench.protocol.spec import TARGETS, TestSet
from bench.seismic import metrics
from leaderboard.figures import palette
from leaderboard.pages import long_tables
from leaderboard.pages.site_files import Site
from leaderboard.pages.urls import Urls
from leaderboard.stats.comparisons import Comparison
from leaderboard.tables import pairs, variants
from leaderboard.tables.boards import Board
from leaderboard.tables.overview import ranked
from leaderboard.tables.protocol_cells import one_cell
from leaderboard.tables.variants import Variant

Pairs = dict[tuple[str, str], Comparison]
"""Row − column, by keys of methods, both ways round."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """All pairs in one protocol or cell."""

    label: str
    name: str
    methods: tuple[Variant, ...]
    """Best first: by the share of the methods compared with ahead of which its mean is."""
    seeds: tuple[int, int]
    """Fewest and most of a pair."""
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
    compared = variants.ranked(board.variants)
    for variant in board.variants:
        site.page(
            urls.comparison(board, variant),
            "compare_method",
            variant=variant,
            ranked=variant in compared,
            others=[v for v in compared if v is not variant],
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
    found = pairs.compare(board, protocol, metrics.METRICS[0], pairs.ranked(board, protocol))
    if not found:
        return None
    ahead: dict[str, list[bool]] = defaultdict(list)
    for (key, _), comparison in found.items():
        ahead[key].append(comparison.favours_method)
    methods = [v for v in board.variants if v.key in ahead]
    methods.sort(key=lambda v: -mean(ahead[v.key]))
    seeds = [c.difference.seeds for c in found.values()]
    return Matrix(protocol.label, protocol.name, tuple(methods), (min(seeds), max(seeds)), found)
