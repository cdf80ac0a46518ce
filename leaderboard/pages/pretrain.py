"""What pretraining brings: the foundation against training from scratch."""

from statistics import fmean

from markupsafe import Markup

from bench.spec import PRETRAINING, TARGETS
from leaderboard import gains, text
from leaderboard.boards import Board, Variant, foundation_cells
from leaderboard.figures import bars
from leaderboard.pages.places import Places
from leaderboard.site import Site
from leaderboard.standings import METRICS
from leaderboard.views import Fit

_LABELS = [text.LABELS[m] for m in METRICS]


def write(site: Site, board: Board, places: Places) -> None:
    """The paper's Figs 2 and 3 for each method that starts from scratch."""
    scratch = [v for v in board.variants if v.card.start == "scratch"]
    blocks = [(v, _fig2(board, v), _fig3(board, v)) for v in scratch]
    site.page(
        places.page(board, "pretrain"),
        "pretrain",
        blocks=blocks,
        key=bars.legend(_LABELS),
        table=_table(board, scratch),
        scratch=scratch,
        metrics=METRICS,
        **places.common(board),
    )


def _named(found: gains.Gains) -> gains.Gains:
    return {(text.dataset(d), text.LABELS[m]): gain for (d, m), gain in found.items()}


def _fig2(board: Board, scratch: Variant) -> Markup | None:
    found = gains.pretraining(board, scratch, METRICS)
    if not found:
        return None
    return bars.gains(
        _named(found),
        [text.dataset(d) for d in PRETRAINING],
        _LABELS,
        title=f"Gain of the foundation over {scratch.label} on the pretraining datasets",
        head=f"Foundation against {scratch.label}",
        axis="dataset",
        width=560,
        height=300,
    )


def _fig3(board: Board, scratch: Variant) -> Markup | None:
    opponent = board.opponent
    found = gains.in_distribution(board, opponent, scratch, METRICS) if opponent else {}
    if not opponent or not found:
        return None
    return bars.gains(
        _named(found),
        [text.dataset(d) for d in TARGETS],
        _LABELS,
        title=f"Gain of {opponent.label} over {scratch.label} on the targets",
        head=f"{opponent.label} against {scratch.label}",
        axis="dataset",
        width=560,
        height=300,
    )


def _table(board: Board, scratch: list[Variant]) -> list[tuple[str, list[dict[str, float] | None]]]:
    """By dataset: mean scores over seeds of the foundation and of each method from scratch."""
    cells = foundation_cells(board)
    rows = []
    for dataset in PRETRAINING:
        columns = [[c for (d, _), c in sorted(cells.items()) if d == dataset]]
        for variant in scratch:
            seeds = sorted({s for f, s in variant.fits if f == Fit(dataset)})
            columns.append([c for s in seeds if (c := variant.cell(Fit(dataset), dataset, s))])
        rows.append(
            (
                dataset,
                [
                    {m: fmean(getattr(c, m) for c in found) for m in METRICS} if found else None
                    for found in columns
                ],
            )
        )
    return rows
