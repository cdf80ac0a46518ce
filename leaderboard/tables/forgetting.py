"""What adapting gains on the targets against what it loses on the pretraining datasets.

Both are differences in MAE to the untouched foundation, on the same seeds and test samples.
"""

from dataclasses import dataclass

from bench.protocol import protocols
from bench.protocol.protocols import Protocol
from bench.seismic import metrics
from leaderboard.stats.estimates import Estimate
from leaderboard.tables import pairs
from leaderboard.tables.boards import Board
from leaderboard.tables.robustness import UNTOUCHED
from leaderboard.tables.variants import Variant

GAINED = ("id", "ood")
"""Protocols on which something may be gained."""


@dataclass(frozen=True, slots=True)
class Trade:
    """A method beside the untouched foundation."""

    variant: Variant
    loss: Estimate
    """Its MAE on the pretraining datasets − that of the untouched foundation."""
    gains: dict[str, Estimate]
    """The untouched foundation's MAE − its own, by protocol: positive is better."""


def trades(board: Board) -> list[Trade]:
    """Methods by loss, least first; those without retention or without a gain are left out."""
    losses = _differences(board, protocols.get("retention"), sign=1)
    gains = {name: _differences(board, protocols.get(name), sign=-1) for name in GAINED}
    found = [
        Trade(v, losses[v.key], {p: g[v.key] for p, g in gains.items() if v.key in g})
        for v in board.variants
        if v.key in losses
    ]
    return sorted((t for t in found if t.gains), key=lambda t: t.loss.value)


def _differences(board: Board, protocol: Protocol, *, sign: int) -> dict[str, Estimate]:
    """`sign` times (method − untouched foundation) in MAE, by variant key."""
    untouched = next((v.key for v in board.variants if v.name == UNTOUCHED), None)
    shared = pairs.shared_seeds(board, protocol)
    own = {pair: seeds for pair, seeds in shared.items() if untouched in pair}
    compared = pairs.compare(board, protocol, metrics.METRICS[0], own)
    turned = compared if sign > 0 else {(b, a): c for (a, b), c in compared.items()}
    return {a: c.difference for (a, b), c in turned.items() if b == untouched}
