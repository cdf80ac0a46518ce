"""The pretraining page: the foundation against training from scratch."""

from collections.abc import Sequence

from markupsafe import Markup

from bench.protocol.spec import PRETRAINING, TARGETS
from bench.seismic import metrics
from leaderboard.figures import bars
from leaderboard.pages.site_files import Site
from leaderboard.pages.urls import Urls
from leaderboard.tables import gains, text
from leaderboard.tables.boards import Board
from leaderboard.tables.cells import means
from leaderboard.tables.variants import Variant


def write(site: Site, board: Board, urls: Urls) -> None:
    """Write the paper's Figs 2 and 3 for each method that starts from scratch."""
    scratch = [v for v in board.variants if v.start == "scratch"]
    blocks = [(v, _fig2(board, v), _fig3(board, v)) for v in scratch]
    shown = [v for v in (board.foundation, *scratch) if v and _scored(board, v)]
    site.page(
        urls.page(board, "pretrain"),
        "pretrain",
        blocks=blocks,
        key=bars.legend(_labels()),
        table=_table(board, shown),
        shown=shown,
        metrics=metrics.METRICS,
        **urls.common(board),
    )


def _named(found: gains.Gains) -> gains.Gains:
    return {(text.dataset(d), text.label(m)): gain for (d, m), gain in found.items()}


def _labels() -> list[str]:
    return [m.label for m in metrics.METRICS]


def _scored(board: Board, variant: Variant) -> bool:
    """On a pretraining dataset that it was trained on."""
    return any(variant.key in means(board, dataset, 100, dataset) for dataset in PRETRAINING)


def _fig2(board: Board, scratch: Variant) -> Markup | None:
    return _gain(board, board.foundation, scratch, PRETRAINING, "the pretraining datasets")


def _fig3(board: Board, scratch: Variant) -> Markup | None:
    return _gain(board, board.reference, scratch, TARGETS, "the targets")


def _gain(
    board: Board, winner: Variant | None, scratch: Variant, datasets: Sequence[str], where: str
) -> Markup | None:
    """Gains of one over training from scratch on each dataset; None where nothing is recorded."""
    found = (
        gains.own(board, winner, scratch, datasets, [m.name for m in metrics.METRICS])
        if winner
        else {}
    )
    if not winner or not found:
        return None
    return bars.gains(
        _named(found),
        [text.dataset(d) for d in datasets],
        _labels(),
        title=f"Gain of {winner.label} over {scratch.label} on {where}",
        head=f"{winner.label} against {scratch.label}",
        axis="dataset",
        width=560,
        height=300,
    )


def _table(
    board: Board, variants: Sequence[Variant]
) -> list[tuple[str, list[dict[str, float] | None]]]:
    """By dataset: mean scores over seeds of each of these."""
    return [
        (d, [means(board, d, 100, d).get(variant.key) for variant in variants]) for d in PRETRAINING
    ]
