"""The order of methods on each backbone: the same methods, the same data and rules."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from bench.protocol.protocols import Protocol
from bench.seismic import metrics
from leaderboard.load.records import BoardKey
from leaderboard.stats import comparisons
from leaderboard.stats.comparisons import FEWEST_SEEDS, Comparison, Ranked
from leaderboard.tables import values
from leaderboard.tables.boards import Board
from leaderboard.tables.pairs import common_seeds, known_seeds
from leaderboard.tables.variants import Variant

_FEWEST_METHODS = 3
"""A backbone on which fewer of the others' methods ran is left out."""


@dataclass(frozen=True, slots=True)
class Order:
    """The methods in order on one backbone."""

    board: Board
    name: str
    ranked: dict[str, Ranked]
    """By variant key, lowest mean error first."""
    pairs: dict[tuple[str, str], Comparison]
    """Both ways round; p-values corrected for all pairs of these methods on this backbone."""
    seeds: int

    def place(self, key: str) -> int:
        """1 for the lowest mean error."""
        return list(self.ranked).index(key) + 1


@dataclass(frozen=True, slots=True)
class Orders:
    """One protocol on several backbones."""

    protocol: Protocol
    variants: tuple[Variant, ...]
    """Methods with scores on all of them."""
    columns: tuple[Order, ...]
    left_out: tuple[str, ...]
    """Backbones with too few of these methods."""

    @property
    def verdict(self) -> str:
        """Whether the order depends on the backbone, in one or two sentences."""
        pairs = list(combinations([v.key for v in self.variants], 2))
        sides = [[column.pairs[pair] for column in self.columns] for pair in pairs]
        same = sum(len({c.favours_method for c in found}) == 1 for found in sides)
        resolved = [{c.favours_method for c in found if c.resolved} for found in sides]
        agreed = sum(
            len({c.favours_method for c in found}) == 1 and all(c.resolved for c in found)
            for found in sides
        )
        labels = {v.key: v.label for v in self.variants}
        against = [
            f"{labels[a]} and {labels[b]}"
            for (a, b), ways in zip(pairs, resolved, strict=True)
            if len(ways) == 2
        ]
        opposite = ", ".join(against) if against else "no pair"
        few = min(column.seeds for column in self.columns) < FEWEST_SEEDS
        return (
            f"{same} of {len(pairs)} pairs of methods stand in the same order on every backbone, "
            f"{agreed} of them resolved on every one; resolved in opposite order: {opposite}."
            + (f" Below {FEWEST_SEEDS} seeds nothing is resolved." if few else "")
        )


def related(board: Board, boards: Sequence[Board]) -> list[Board]:
    """Boards with the track, budget and rules of this one, itself included, by backbone.

    Their fingerprints differ by the network alone, as far as their records say.
    """
    same = [
        b
        for b in boards
        if b.rules == board.rules and _but_words(b) == _but_words(board) and not b.trial
    ]
    return sorted(same, key=lambda b: (b.key.backbone, b.key.fingerprint))


def _but_words(board: Board) -> dict[str, object]:
    return board.track.model_dump(exclude={"summary"})


def orders(boards: Sequence[Board], protocol: Protocol) -> Orders | None:
    """The order by MAE on each of these boards; None unless two have methods in common.

    Boards with the most methods come first where not all have enough in common.
    """
    found = {b.key: common_seeds(b, protocol)[0] for b in boards}
    having = sorted(boards, key=lambda b: -len(found[b.key]))
    common: dict[str, Variant] = {}
    chosen: set[BoardKey] = set()
    for board in having:
        own = {v.key: v for v in found[board.key]}
        rest = {key: v for key, v in common.items() if key in own} if chosen else own
        if len(rest) >= _FEWEST_METHODS:
            common = rest
            chosen.add(board.key)
    columns = [
        _order(board, list(common.values()), protocol, boards)
        for board in boards
        if board.key in chosen
    ]
    known = tuple(column for column in columns if column)
    if len(known) < 2:
        return None
    out = tuple(_name(b, boards) for b in boards if b.key not in {c.board.key for c in known})
    return Orders(protocol, tuple(common.values()), known, out)


def _order(
    board: Board,
    variants: Sequence[Variant],
    protocol: Protocol,
    boards: Sequence[Board],
) -> Order | None:
    known = known_seeds(board, protocol)
    seeds = sorted(set.intersection(*(set(known[v.key]) for v in variants)))
    scores = values.scores(board, variants, protocol, seeds, metrics.METRICS[0])
    if scores is None:
        return None
    moments, keys = scores.moments(), [v.key for v in variants]
    pairs = comparisons.all_pairs(moments, better="lower")
    ranked = comparisons.rank(moments, pairs, better="lower")
    ranked = tuple(sorted(ranked, key=lambda r: r.score.value))
    return Order(
        board,
        _name(board, boards),
        {keys[r.method]: r for r in ranked},
        {(keys[a], keys[b]): c for (a, b), c in pairs.items()},
        len(seeds),
    )


def _name(board: Board, boards: Sequence[Board]) -> str:
    """The backbone, with its fingerprint where another board has one of that name."""
    twins = sum(b.key.backbone == board.key.backbone for b in boards)
    name = board.key.backbone
    return f"{name} ({board.key.fingerprint[:8]})" if twins > 1 else name
