"""What pretraining brings: the foundation against training from scratch."""

from collections.abc import Sequence
from statistics import fmean

from markupsafe import Markup

from bench.protocol.spec import PRETRAINING, TARGETS
from leaderboard import gains, text
from leaderboard.boards import Board, Variant
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
    shown = [v for v in (board.foundation, *scratch) if v and _trained(v)]
    site.page(
        places.page(board, "pretrain"),
        "pretrain",
        blocks=blocks,
        key=bars.legend(_LABELS),
        table=_table(shown),
        shown=shown,
        metrics=METRICS,
        **places.common(board),
    )


def _named(found: gains.Gains) -> gains.Gains:
    return {(text.dataset(d), text.LABELS[m]): gain for (d, m), gain in found.items()}


def _trained(variant: Variant) -> bool:
    """On a pretraining dataset."""
    return any(fit.train in PRETRAINING for fit, _ in variant.fits)


def _fig2(board: Board, scratch: Variant) -> Markup | None:
    return _gain(board, board.foundation, scratch, PRETRAINING, "the pretraining datasets")


def _fig3(board: Board, scratch: Variant) -> Markup | None:
    return _gain(board, board.opponent, scratch, TARGETS, "the targets")


def _gain(
    board: Board, winner: Variant | None, scratch: Variant, datasets: Sequence[str], where: str
) -> Markup | None:
    """Gains of one over training from scratch on each dataset; None where nothing is recorded."""
    found = gains.own(board, winner, scratch, datasets, METRICS) if winner else {}
    if not winner or not found:
        return None
    return bars.gains(
        _named(found),
        [text.dataset(d) for d in datasets],
        _LABELS,
        title=f"Gain of {winner.label} over {scratch.label} on {where}",
        head=f"{winner.label} against {scratch.label}",
        axis="dataset",
        width=560,
        height=300,
    )


def _table(
    variants: Sequence[Variant],
) -> list[tuple[str, list[dict[str, float] | None]]]:
    """By dataset: mean scores over seeds of each of these."""
    return [(d, [_means(v, d) for v in variants]) for d in PRETRAINING]


def _means(variant: Variant, dataset: str) -> dict[str, float] | None:
    fit = Fit(dataset)
    cells = [c for s in variant.seeds_of(fit) if (c := variant.cell(fit, dataset, s))]
    return {m: fmean(getattr(c, m) for c in cells) for m in METRICS} if cells else None
