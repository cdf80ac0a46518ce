"""The page of one method: what it is, where it stands, and all its cells."""

from markupsafe import Markup

from bench.protocol.columns import COSTS
from bench.protocol.spec import PERCENTS, TARGETS
from leaderboard import gains, palette, text
from leaderboard.boards import Board, Variant
from leaderboard.cells import Cell, Key
from leaderboard.figures import bars
from leaderboard.pages.places import Places
from leaderboard.site import Site
from leaderboard.standings import METRICS
from leaderboard.table import Row
from leaderboard.views import RANKED, Fit


def write(site: Site, board: Board, places: Places, row: Row, table: dict[Key, Cell]) -> None:
    """Write the page of the method of this row."""
    variant = row.variant
    first = variant.entries[0]
    opponent = board.opponent
    site.page(
        places.method(board, variant),
        "method",
        row=row,
        variant=variant,
        entry=first,
        sign=palette.sign(variant),
        views=RANKED,
        metrics=METRICS,
        labels=text.LABELS,
        costs=COSTS,
        cells=_cells(variant),
        bars=_bars(table, variant) if opponent and opponent is not variant else [],
        opponent=opponent,
        configs_tried=max(e.configs_tried for e in variant.entries),
        others=[e for e in variant.entries if e.status != "done" or len(e.datasets) > 1],
        targets=TARGETS,
        percents=PERCENTS,
        **places.common(board),
    )


def _cells(variant: Variant) -> list[tuple[str, int, int, str, list[tuple[str, object]]]]:
    """Fits by (dataset, per cent, seed, run id) with a cell for each test set."""
    return [
        (fit.train, fit.percent, seed, entry.run_id, list(entry.cells.items()))
        for (fit, seed), entry in sorted(
            variant.fits.items(), key=lambda item: (_place(item[0][0]), item[0][1])
        )
    ]


def _place(fit: Fit) -> tuple[int, str, int]:
    """Targets first, in their order."""
    rank = TARGETS.index(fit.train) if fit.train in TARGETS else len(TARGETS)
    return rank, fit.train, fit.percent


def _bars(table: dict[Key, Cell], variant: Variant) -> list[tuple[str, str, Markup, Markup]]:
    """(metric, training target, figure, key of its series)."""
    made = []
    for metric in METRICS:
        for train in TARGETS:
            found = gains.low_data(table, variant, train, metric)
            if found:
                tests = gains.others(train)
                colours = [TARGETS.index(t) for t in tests]
                percents = [str(p) for p in PERCENTS if any(g == str(p) for g, _ in found)]
                figure = bars.gains(
                    found,
                    percents,
                    tests,
                    title=f"Gain in {text.LABELS[metric]} of {variant.label}, trained on {train}",
                    head=f"trained on {text.dataset(train)}",
                    axis="training data (%)",
                    colours=colours,
                    width=560,
                    height=280,
                )
                made.append((metric, train, figure, bars.legend(tests, colours)))
    return made
