"""Which method to use: for a part of the data and a test distribution, methods best first."""

from collections.abc import Mapping
from dataclasses import dataclass

from leaderboard.tables import memory, variants
from leaderboard.tables.boards import Board
from leaderboard.tables.standings import Standing
from leaderboard.tables.variants import Variant

Parts = Mapping[tuple[bool, int], Mapping[str, Standing]]
"""In distribution or not, per cent: the standing of each method by variant key."""


@dataclass(frozen=True, slots=True)
class Advice:
    """A method for a case."""

    variant: Variant
    standing: Standing
    bytes: float | None
    """Counted memory of a training step at the track's batch size."""
    certainty: str
    command: str


def cases(board: Board, parts: Parts) -> list[tuple[bool, int, list[Advice]]]:
    """In distribution or not, per cent, and methods by error; cases without scores are left out."""
    made = []
    steps = memory.table(board)
    for (own, percent), found in parts.items():
        scored = [v for v in board.variants if "mae" in found[v.key].scores]
        scored.sort(key=lambda v: found[v.key].scores["mae"].value)
        if scored and not board.trial:
            made.append((own, percent, [_advice(board, v, found, steps) for v in scored]))
    return made


def command(board: Board, variant: Variant, protocols: str = "id,ood") -> str:
    """The command that repeats the fits of a method on this board, at its recorded seeds."""
    seeds = board.fitted.get(variant.key, ())
    words = ["bench run", f"--method {variant.name}", f"--protocol {protocols}"]
    words += [f"--track {board.key.track}", f"--backbone {board.key.backbone}"]
    words += [f"--seeds {','.join(map(str, seeds))}"] if seeds else []
    for mark in variant.label.removeprefix(variant.name).split():
        key, _, value = mark.partition("=")
        if key == "batchnorm":
            words.append(f"--batchnorm {value}")
        elif value:
            words.append(f"--set {mark}")
    return " ".join(words)


def _advice(
    board: Board,
    variant: Variant,
    found: Mapping[str, Standing],
    steps: Mapping[str, memory.Memory],
) -> Advice:
    step = steps.get(variant.key)
    return Advice(
        variant,
        found[variant.key],
        step.total(board.track.fit.batch) if step else None,
        _certainty(board, variant, found),
        command(board, variant, "lowdata" if _partial(found, board) else "id,ood"),
    )


def _partial(found: Mapping[str, Standing], board: Board) -> bool:
    """Whether the case is one of the low-data protocol."""
    return any(percent < 100 for _, percent in board.datasets)


def _certainty(board: Board, variant: Variant, found: Mapping[str, Standing]) -> str:
    """How sure its place is, in words."""
    standing = found[variant.key]
    if standing.rank is None:
        others = [s for key, s in found.items() if key != variant.key and s.rank]
        if not others:
            return "not compared: no other method can be"
        if not any(score.estimate for score in standing.scores.values()):
            return "not compared: its scores of single samples are not all there"
        if variant not in variants.ranked(board.variants):
            return f"not ranked: of {variant.name} its usual learning rate is"
        return "not compared: it shares too few seeds with the others"
    best, worst = standing.rank
    place = f"rank {best}" if best == worst else f"rank {best} to {worst}"
    if standing.provisional:
        return f"{place}, provisional: fewer than three seeds"
    if best == worst:
        return f"{place}, resolved"
    return f"{place}: not told apart from {worst - best} of the others"
