"""Standings of a board's methods in a protocol: intervals, gains, ratios to floor, ranks."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from bench.protocol.protocols import Protocol
from bench.seismic import metrics
from leaderboard.load.samples import TEST
from leaderboard.stats import comparisons
from leaderboard.stats.comparisons import FEWEST_SEEDS, Comparison
from leaderboard.stats.estimates import Estimate
from leaderboard.tables import pairs, values
from leaderboard.tables.boards import Board
from leaderboard.tables.protocol_cells import FIT, cells_of
from leaderboard.tables.variants import Variant

_FIRST = metrics.METRICS[0]
"""MAE: what methods are ranked by."""


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
    """Per cent better than the reference method, by metric."""
    ratio: Estimate | None = None
    """MAE as a ratio to the floor: above 1 the mean training map is better."""
    comparison: Comparison | None = None
    """MAE against the reference method; p-values corrected for all pairs that are ranked."""
    pairs: int = 0
    """Number of all pairs compared, the family of that correction."""
    rank: tuple[int, int] | None = None
    """Best and worst rank by MAE that the data allow."""
    seeds_compared: int = 0
    """Fewest seeds of a comparison with another method, 0 if there is none."""
    mean_rank: float | None = None
    """Mean over cells of the rank by MAE within a cell, among methods on common seeds."""

    @property
    def missing(self) -> str:
        """What a score lacks, in words."""
        if self.fits < self.wanted:
            return f"{self.fits} of {self.wanted} fits"
        return "not scored everywhere"

    @property
    def provisional(self) -> bool:
        """Whether there are too few seeds to resolve anything."""
        return (self.seeds_compared if self.rank else len(self.seeds)) < FEWEST_SEEDS


def standings(board: Board, protocol: Protocol) -> dict[str, Standing]:
    """Every method of the board by variant key.

    Scores and ratios are over a method's own seeds; ranks, differences and gains come from pairs of
    methods, each on the seeds that both have.
    """
    bares = _bare(board, protocol)
    shared = pairs.shared_seeds(board, protocol)
    ranked = pairs.ranked(board, protocol)
    compared = {} if board.trial else pairs.compare(board, protocol, _FIRST, ranked)
    scores, ratios = _own(board, protocol, bares)
    ranks = comparisons.rank_ranges({key: None for key, _ in compared}, compared)
    mean_ranks = _mean_ranks(board, protocol)
    reference = board.reference
    gains = {
        metric.name: pairs.gains(board, protocol, metric, shared, reference) if reference else {}
        for metric in metrics.METRICS
    }
    counts: dict[str, list[int]] = defaultdict(list)
    for (key, _), comparison in compared.items():
        counts[key].append(comparison.difference.seeds)
    found = {}
    for key, bare in bares.items():
        own = scores.get(key, {})
        found[key] = replace(
            bare,
            scores={m: Score(s.value, own.get(m)) for m, s in bare.scores.items()},
            ratio=ratios.get(key),
            gains={m: gained[key] for m, gained in gains.items() if key in gained},
            comparison=compared.get((key, reference.key)) if reference else None,
            pairs=len(compared) // 2,
            rank=ranks.get(key),
            seeds_compared=min(counts[key], default=0),
            mean_rank=mean_ranks.get(key),
        )
    return found


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


def _own(
    board: Board, protocol: Protocol, bares: Mapping[str, Standing]
) -> tuple[dict[str, dict[str, Estimate]], dict[str, Estimate]]:
    """Scores by variant key and metric, and ratios to the floor, over each method's own seeds."""
    sampled = pairs.known_seeds(board, protocol)
    by_seeds: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for key, bare in bares.items():
        if bare.seeds and sampled.get(key) == bare.seeds:
            by_seeds[bare.seeds].append(key)
    scores: dict[str, dict[str, Estimate]] = defaultdict(dict)
    ratios: dict[str, Estimate] = {}
    for seeds, keys in by_seeds.items():
        for metric in metrics.METRICS:
            members = pairs.having(board, keys, protocol, seeds, metric)
            found = values.scores(board, members, protocol, seeds, metric)
            for variant, estimate in _estimates(members, found):
                scores[variant.key][metric.name] = estimate
        members = pairs.having(board, keys, protocol, seeds, _FIRST)
        over = values.ratios_to_floor(board, members, protocol, seeds, _FIRST)
        ratios |= {variant.key: estimate for variant, estimate in _estimates(members, over)}
    return scores, ratios


def _estimates(
    variants: Sequence[Variant], found: values.ScoreArray | None
) -> list[tuple[Variant, Estimate]]:
    return list(zip(variants, found.moments().estimates(), strict=True)) if found else []


def _mean_ranks(board: Board, protocol: Protocol) -> dict[str, float]:
    """Mean over cells of the rank by the first metric, of means over common seeds."""
    together, seeds = pairs.common_seeds(board, protocol)
    if len(together) < 2:
        return {}
    keys, name = [v.key for v in together], _FIRST.name
    ranked = (
        board.scored.filter(pl.col("variant").is_in(keys), pl.col("seed").is_in(list(seeds)))
        .join(cells_of(protocol), on=[*FIT, *TEST], maintain_order="left")
        .group_by("variant", *FIT, *TEST, maintain_order=True)
        .agg(pl.col(name).mean())
        .with_columns(pl.col(name).rank().over(*FIT, *TEST).alias("rank"))
        .group_by("variant")
        .agg(pl.col("rank").mean())
    )
    return dict(ranked.select("variant", "rank").iter_rows())
