"""How the methods of a board stand in a protocol: intervals, gains, ranks."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from bench.protocol.columns import score as column
from leaderboard import statistics
from leaderboard.boards import Board, Variant
from leaderboard.resampling import Estimate
from leaderboard.stacks import stack
from leaderboard.statistics import Better, Comparison
from leaderboard.views import View

METRICS = ("mae", "rmse", "ssim")


@dataclass(frozen=True, slots=True)
class Score:
    """A mean over cells and seeds; the interval is None without per-sample scores."""

    value: float
    estimate: Estimate | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """A method in one protocol."""

    seeds: tuple[int, ...]
    """With every cell of the protocol. Empty: nothing else is known."""
    fits: int
    wanted: int
    scores: dict[str, Score] = field(default_factory=dict)
    gains: dict[str, Estimate] = field(default_factory=dict)
    """Percent better than the opponent, by metric, over common seeds."""
    comparison: Comparison | None = None
    """MAE against the opponent; p-values corrected for all methods of the board."""
    rank: tuple[int, int] | None = None
    """Best and worst rank by MAE that the data allow."""


def better(metric: str) -> Better:
    return column(metric).better or "lower"


def standings(board: Board, view: View) -> dict[str, Standing]:
    """Every method of the board by variant key."""
    together, seeds = comparable(board, view)
    joint = _compared(board, together, view, seeds)
    made = {}
    for variant in board.variants:
        bare = _bare(variant, view)
        if bare.seeds == seeds:
            scores = joint.scores.get(variant.key, {})
        else:
            scores = _compared(board, [variant], view, bare.seeds).scores.get(variant.key, {})
        made[variant.key] = replace(
            bare,
            scores={m: Score(s.value, scores.get(m)) for m, s in bare.scores.items()},
            gains=joint.gains.get(variant.key, {}),
            comparison=joint.comparisons.get(variant.key),
            rank=joint.ranks.get(variant.key),
        )
    return made


def comparable(board: Board, view: View) -> tuple[list[Variant], tuple[int, ...]]:
    """Methods that can be compared on common seeds, and these seeds.

    The seeds that all complete methods share; if there is none, the seed that most have.
    """
    have = {
        v.key: set(v.seeds(view))
        for v in board.variants
        if (seeds := v.seeds(view))
        and all(board.has_samples(v, fit, test, seeds) for fit, test in view.cells)
    }
    if not have:
        return [], ()
    common = set.intersection(*have.values())
    if not common:
        counts = Counter(seed for seeds in have.values() for seed in seeds)
        common = {min(counts, key=lambda s: (-counts[s], s))}
    together = [v for v in board.variants if common <= have.get(v.key, set())]
    return together, tuple(sorted(common))


def _bare(variant: Variant, view: View) -> Standing:
    seeds = variant.seeds(view)
    scores = {}
    if seeds:
        cells = [variant.cell(f, t, s) for f, t in view.cells for s in seeds]
        scores = {m: Score(fmean(getattr(c, m) for c in cells if c)) for m in METRICS}
    counts = Counter(seed for fit, seed in variant.fits if fit in view.tests)
    return Standing(seeds, max(counts.values(), default=0), len(view.tests), scores)


@dataclass(frozen=True, slots=True)
class _Joint:
    """What joint resamples of some methods say, by variant key."""

    scores: dict[str, dict[str, Estimate]]
    gains: dict[str, dict[str, Estimate]]
    comparisons: dict[str, Comparison]
    ranks: dict[str, tuple[int, int]]


def _compared(
    board: Board, together: Sequence[Variant], view: View, seeds: Sequence[int]
) -> _Joint:
    """Metric after metric: resamples of one are all that is in memory."""
    found = _Joint({v.key: {} for v in together}, {v.key: {} for v in together}, {}, {})
    shared = stack(board, together, view, seeds)
    keys = [v.key for v in together]
    opponent = together.index(board.opponent) if board.opponent in together else None
    if shared is None:
        return found
    for metric in METRICS:
        draws = shared.resample(metric)
        for key, estimate in zip(keys, statistics.means(draws), strict=True):
            found.scores[key][metric] = estimate
        if opponent is not None and (draws.scores[opponent] != 0).all():
            gains = statistics.gains(draws, opponent=opponent, better=better(metric))
            for i, key in enumerate(keys):
                if i != opponent:
                    found.gains[key][metric] = gains[i]
        if metric == "mae":
            means = draws.averaged()
            for r in statistics.rank(means, better="lower"):
                found.ranks[keys[r.method]] = r.rank, r.worst_rank
            if opponent is not None:
                against = statistics.compare_all(means, opponent=opponent, better="lower")
                found.comparisons.update((keys[i], c) for i, c in against.items())
    return found
