"""Standings of a board's methods in a protocol: intervals, gains, ratios to floor, ranks."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from bench.protocol.protocols import Protocol
from bench.seismic import metrics
from leaderboard.load.samples import TEST
from leaderboard.stats import comparisons
from leaderboard.stats.comparisons import FEWEST_SEEDS, Comparison
from leaderboard.stats.estimates import Estimate, Moments
from leaderboard.tables import values
from leaderboard.tables.boards import Board
from leaderboard.tables.protocol_cells import FIT, cells_of
from leaderboard.tables.variants import Variant


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
    """Per cent better than the reference method, by metric, over common seeds."""
    ratio: Estimate | None = None
    """MAE as a ratio to the floor: above 1 the mean training map is better."""
    comparison: Comparison | None = None
    """MAE against the reference method; p-values corrected for all pairs of the board."""
    rank: tuple[int, int] | None = None
    """Best and worst rank by MAE that the data allow."""
    compared: tuple[int, ...] = ()
    """Seeds of the comparison that rank, gains and differences are from."""
    mean_rank: float | None = None
    """Mean over cells of the rank by MAE within a cell."""

    @property
    def missing(self) -> str:
        """What a score lacks, in words."""
        if self.fits < self.wanted:
            return f"{self.fits} of {self.wanted} fits"
        return "not scored everywhere"

    @property
    def provisional(self) -> bool:
        """Whether there are too few seeds to resolve anything."""
        return len(self.compared if self.rank else self.seeds) < FEWEST_SEEDS


def standings(board: Board, protocol: Protocol) -> dict[str, Standing]:
    """Every method of the board by variant key."""
    together, seeds = comparable(board, protocol)
    joint = _Joint(board, together, protocol, seeds)
    bares = _bare(board, protocol)
    found = {}
    for variant in board.variants:
        bare = bares[variant.key]
        own = joint if bare.seeds == seeds and variant in together else None
        if own is None and bare.seeds:
            own = _Joint(board, [variant], protocol, bare.seeds)
        estimates = own.scores.get(variant.key, {}) if own else {}
        found[variant.key] = replace(
            bare,
            scores={m: Score(s.value, estimates.get(m)) for m, s in bare.scores.items()},
            ratio=own.ratios.get(variant.key) if own else None,
            gains=joint.gains.get(variant.key, {}),
            comparison=joint.comparisons.get(variant.key),
            rank=joint.ranks.get(variant.key),
            mean_rank=joint.mean_ranks.get(variant.key),
            compared=seeds,
        )
    return found


def comparable(board: Board, protocol: Protocol) -> tuple[list[Variant], tuple[int, ...]]:
    """Methods that can be compared on common seeds, and these seeds.

    The seeds that all complete methods share, or those of all but the methods with too few, where
    two or more have enough: one trial of a method must not make the others provisional. If there is
    no common seed, the one that most have. Methods are complete with all per-sample scores.
    """
    have = board.seeds(protocol)
    sampled = board.sampled_seeds(protocol)
    known = {v.key: set(have.get(v.key, ())) & set(sampled.get(v.key, ())) for v in board.variants}
    known = {key: seeds for key, seeds in known.items() if seeds}
    if not known:
        return [], ()
    common = set.intersection(*known.values())
    enough = [seeds for seeds in known.values() if len(seeds) >= FEWEST_SEEDS]
    if len(common) < FEWEST_SEEDS and len(enough) > 1:
        shared = set.intersection(*enough)
        common = shared if len(shared) >= FEWEST_SEEDS else common
    if not common:
        counts = Counter(seed for seeds in known.values() for seed in seeds)
        common = {min(counts, key=lambda s: (-counts[s], s))}
    together = [v for v in board.variants if common <= known.get(v.key, set())]
    return together, tuple(sorted(common))


def _means(board: Board, protocol: Protocol) -> dict[tuple[str, int], dict[str, float]]:
    """Mean scores over the cells of a protocol, by variant and seed."""
    columns = [m.name for m in metrics.METRICS]
    rows = (
        board.scored.join(cells_of(protocol), on=[*FIT, *TEST], maintain_order="left")
        .group_by("variant", "seed", maintain_order=True)
        .agg(pl.col(columns).mean())
    )
    return {
        (row["variant"], row["seed"]): {name: row[name] for name in columns}
        for row in rows.iter_rows(named=True)
    }


def _bare(board: Board, protocol: Protocol) -> dict[str, Standing]:
    """What is known of each method without per-sample scores, by variant key."""
    means, complete = _means(board, protocol), board.seeds(protocol)
    wanted = cells_of(protocol).select(*FIT).unique()
    fits = (
        board.tested.select("variant", "seed", *FIT)
        .join(wanted, on=FIT)
        .group_by("variant", "seed")
        .len()
        .group_by("variant")
        .agg(pl.col("len").max())
    )
    most = dict(fits.iter_rows())
    found = {}
    for key in (v.key for v in board.variants):
        seeds, scores = complete.get(key, ()), {}
        for metric in metrics.METRICS:
            known = [means[key, seed][metric.name] for seed in seeds]
            if known and all(value is not None for value in known):
                scores[metric.name] = Score(sum(known) / len(known))
        found[key] = Standing(seeds, most.get(key, 0), wanted.height, scores)
    return found


class _Joint:
    """What scores on common seeds say of several methods, by variant key."""

    def __init__(
        self, board: Board, together: Sequence[Variant], protocol: Protocol, seeds: Sequence[int]
    ) -> None:
        self._trial = board.trial
        self.scores: dict[str, dict[str, Estimate]] = {v.key: {} for v in together}
        self.gains: dict[str, dict[str, Estimate]] = {v.key: {} for v in together}
        self.ratios: dict[str, Estimate] = {}
        self.comparisons: dict[str, Comparison] = {}
        self.ranks: dict[str, tuple[int, int]] = {}
        self.mean_ranks: dict[str, float] = {}
        for place, metric in enumerate(metrics.METRICS):
            having = _having(board, together, protocol, seeds, metric.name)
            keys = [v.key for v in having]
            reference = board.reference if board.reference in having else None
            found = values.scores(board, having, protocol, seeds, metric)
            if found is None:
                continue
            moments = found.moments()
            for key, estimate in zip(keys, moments.estimates(), strict=True):
                self.scores[key][metric.name] = estimate
            if place == 0:
                self._rank(moments, keys, reference)
            if reference is None or len(having) < 2:
                continue
            gains = values.gains(board, having, protocol, seeds, metric, reference)
            if gains is not None:
                for key, estimate in zip(keys, gains.moments().estimates(), strict=True):
                    if key != reference.key:
                        self.gains[key][metric.name] = estimate
        keys, first = [v.key for v in together], metrics.METRICS[0]
        ratios = values.ratios_to_floor(board, together, protocol, seeds, first)
        if ratios is not None:
            self.ratios = dict(zip(keys, ratios.moments().estimates(), strict=True))
        if len(together) > 1:
            self.mean_ranks = _mean_ranks(board, keys, protocol, seeds)

    def _rank(self, moments: Moments, keys: Sequence[str], reference: Variant | None) -> None:
        if len(keys) < 2 or self._trial:
            return
        pairs = comparisons.all_pairs(moments, better="lower")
        for ranked in comparisons.rank(moments, pairs, better="lower"):
            self.ranks[keys[ranked.method]] = ranked.rank, ranked.worst_rank
        if reference is not None:
            place = keys.index(reference.key)
            self.comparisons = {key: pairs[i, place] for i, key in enumerate(keys) if i != place}


def _having(
    board: Board,
    variants: Sequence[Variant],
    protocol: Protocol,
    seeds: Sequence[int],
    metric: str,
) -> list[Variant]:
    """Those with this metric in every cell: records from before it was added lack it."""
    if not board.scored[metric].null_count():
        return list(variants)
    lacking = (
        board.scored.filter(pl.col(metric).is_null(), pl.col("seed").is_in(list(seeds)))
        .join(cells_of(protocol), on=[*FIT, *TEST])
        .get_column("variant")
    )
    without = set(lacking.unique())
    return [v for v in variants if v.key not in without]


def _mean_ranks(
    board: Board, keys: Sequence[str], protocol: Protocol, seeds: Sequence[int]
) -> dict[str, float]:
    """Mean over cells of the rank by the first metric, of scores that are means over seeds."""
    name = metrics.METRICS[0].name
    ranked = (
        board.scored.filter(pl.col("variant").is_in(list(keys)), pl.col("seed").is_in(list(seeds)))
        .join(cells_of(protocol), on=[*FIT, *TEST], maintain_order="left")
        .group_by("variant", *FIT, *TEST, maintain_order=True)
        .agg(pl.col(name).mean())
        .with_columns(pl.col(name).rank().over(*FIT, *TEST).alias("rank"))
        .group_by("variant")
        .agg(pl.col("rank").mean())
    )
    return dict(ranked.select("variant", "rank").iter_rows())
