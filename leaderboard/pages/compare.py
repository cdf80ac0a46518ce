"""Method × method: paired differences, on average and cell by cell."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from bench.protocol.spec import TARGETS
from leaderboard import palette, statistics
from leaderboard.boards import Board, Variant
from leaderboard.pages.places import Places
from leaderboard.resampling import Floats
from leaderboard.site import Site
from leaderboard.stacks import stack
from leaderboard.standings import comparable
from leaderboard.statistics import Comparison
from leaderboard.views import RANKED, Fit, View, of_cell

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


def write(site: Site, board: Board, places: Places) -> None:
    """A matrix for each protocol, and a page for each method with its differences per cell."""
    matrices = [m for view in RANKED if (m := _matrix(board, view))]
    cells = [m for train in TARGETS for m in _cells(board, train)]
    signs = {v.key: palette.sign(v) for v in board.variants}
    site.page(
        places.page(board, "compare"),
        "compare",
        matrices=matrices,
        switch=[(m.name, m.label) for m in matrices],
        signs=signs,
        **places.common(board),
    )
    for variant in board.variants:
        site.page(
            places.comparison(board, variant),
            "compare_method",
            variant=variant,
            others=[v for v in board.variants if v is not variant],
            matrices=matrices,
            cells=cells,
            signs=signs,
            **places.common(board),
        )


def _cells(board: Board, train: str) -> list[Matrix]:
    tests = (train, *(t for t in TARGETS if t != train))
    return [m for test in tests if (m := _matrix(board, of_cell(Fit(train), test)))]


def _matrix(board: Board, view: View) -> Matrix | None:
    methods, seeds = comparable(board, view)
    shared = stack(board, methods, view, seeds) if len(methods) > 1 else None
    if shared is None:
        return None
    averaged = shared.resample("mae").averaged()
    order = list(combinations(range(len(methods)), 2))
    found = statistics.corrected(statistics.compare_pairs(averaged, order, better="lower"))
    pairs: Pairs = {}
    for (a, b), here in zip(order, found, strict=True):
        pairs[methods[a].key, methods[b].key] = here
        pairs[methods[b].key, methods[a].key] = _turned(here)
    return Matrix(view.label, view.name, _best_first(averaged.scores, methods), seeds, pairs)


def _turned(comparison: Comparison) -> Comparison:
    """The same pair seen from the other method."""
    d = comparison.difference
    return replace(
        comparison,
        difference=replace(d, value=-d.value, low=-d.high, high=-d.low),
        probability_better=1 - comparison.probability_better,
    )


def _best_first(scores: Floats, methods: Sequence[Variant]) -> tuple[Variant, ...]:
    means = scores.mean(axis=1)
    return tuple(methods[i] for i in sorted(range(len(methods)), key=lambda i: means[i]))
