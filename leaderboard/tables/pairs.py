"""Which methods of a board are compared, and on which seeds.

Methods have run at different seeds. A pair is compared on those that both have, and loses none
because a third method lacks it. Tables that show values side by side take seeds that all share.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations

import polars as pl

from bench.protocol.protocols import Protocol
from bench.seismic.metrics import Metric
from leaderboard.load.samples import TEST
from leaderboard.stats import comparisons
from leaderboard.stats.comparisons import FEWEST_SEEDS, Comparison
from leaderboard.stats.estimates import Estimate
from leaderboard.tables import values, variants
from leaderboard.tables.boards import Board
from leaderboard.tables.protocol_cells import FIT, cells_of
from leaderboard.tables.variants import Variant

Pair = tuple[str, str]
"""Keys of two variants."""
Seeds = tuple[int, ...]


def known_seeds(board: Board, protocol: Protocol) -> dict[str, Seeds]:
    """Seeds with every cell of a protocol and all per-sample scores, by variant key."""
    scored, sampled = board.seeds(protocol), board.sampled_seeds(protocol)
    found = {
        v.key: tuple(sorted(set(scored.get(v.key, ())) & set(sampled.get(v.key, ()))))
        for v in board.variants
    }
    return {key: seeds for key, seeds in found.items() if seeds}


def shared_seeds(
    board: Board, protocol: Protocol, methods: Collection[Variant] | None = None
) -> dict[Pair, Seeds]:
    """Seeds that both methods of a pair have, for the pairs of these (or all) to be compared.

    Those are the pairs with `FEWEST_SEEDS` or more; where there are none, all that share a seed. A
    first trial of a method is not ranked among settled ones.
    """
    keys = {v.key for v in (board.variants if methods is None else methods)}
    known = {key: seeds for key, seeds in known_seeds(board, protocol).items() if key in keys}
    shared = {
        (a, b): tuple(sorted(set(known[a]) & set(known[b]))) for a, b in combinations(known, 2)
    }
    enough = {pair: seeds for pair, seeds in shared.items() if len(seeds) >= FEWEST_SEEDS}
    return enough or {pair: seeds for pair, seeds in shared.items() if seeds}


def ranked(board: Board, protocol: Protocol) -> dict[Pair, Seeds]:
    """`shared_seeds` of the methods that are ranked: the family of comparisons of the site."""
    return shared_seeds(board, protocol, variants.ranked(board.variants))


def common_seeds(board: Board, protocol: Protocol) -> tuple[list[Variant], Seeds]:
    """Methods whose values can stand side by side, and their common seeds.

    Of methods that share `FEWEST_SEEDS` or more, those with the most fits on the seeds they share;
    where no two do, all methods on the seeds that all share. If there is none, those that have the
    one that most have.
    """
    known = {key: frozenset(seeds) for key, seeds in known_seeds(board, protocol).items()}
    if not known:
        return [], ()
    sets = set(known.values())
    every = frozenset.intersection(*sets)
    shared = {a & b for a in sets for b in sets} | {every}
    fits = {s: len(s) * sum(s <= own for own in known.values()) for s in shared}
    enough = [s for s in shared if len(s) >= FEWEST_SEEDS and fits[s] > len(s)]
    if enough:
        common = max(enough, key=lambda s: (fits[s], len(s), sorted(s, reverse=True)))
    elif every:
        common = every
    else:
        counts = Counter(seed for seeds in known.values() for seed in seeds)
        common = frozenset({min(counts, key=lambda s: (-counts[s], s))})
    together = [v for v in board.variants if common <= known.get(v.key, frozenset())]
    return together, tuple(sorted(common))


def compare(
    board: Board, protocol: Protocol, metric: Metric, shared: Mapping[Pair, Seeds]
) -> dict[Pair, Comparison]:
    """Differences of pairs on their `shared_seeds`, both ways round, corrected as one family."""
    by_seeds: dict[Seeds, list[Pair]] = defaultdict(list)
    for pair, seeds in shared.items():
        by_seeds[seeds].append(pair)
    better = metric.better or "lower"
    found: dict[Pair, Comparison] = {}
    for seeds, pairs in by_seeds.items():
        members = having(board, {key for pair in pairs for key in pair}, protocol, seeds, metric)
        scores = values.scores(board, members, protocol, seeds, metric)
        if scores is None:
            continue
        place = {v.key: i for i, v in enumerate(members)}
        inside = [(a, b) for a, b in pairs if a in place and b in place]
        first, second = [place[a] for a, _ in inside], [place[b] for _, b in inside]
        for pair, d in zip(inside, scores.moments().differences(first, second), strict=True):
            found[pair] = Comparison(difference=d, better=better, p_holm=d.p_value)
    whole = dict(zip(found, comparisons.corrected(list(found.values())), strict=True))
    return whole | {(b, a): c.turned for (a, b), c in whole.items()}


def gains(
    board: Board,
    protocol: Protocol,
    metric: Metric,
    shared: Mapping[Pair, Seeds],
    reference: Variant,
) -> dict[str, Estimate]:
    """Gains over a reference method in per cent, by variant key, on the seeds shared with it."""
    by_seeds: dict[Seeds, set[str]] = defaultdict(set)
    for pair, seeds in shared.items():
        if reference.key in pair:
            by_seeds[seeds] |= set(pair)
    found: dict[str, Estimate] = {}
    for seeds, keys in by_seeds.items():
        members = having(board, keys, protocol, seeds, metric)
        if reference not in members:
            continue
        gained = values.gains(board, members, protocol, seeds, metric, reference)
        if gained is not None:
            estimates = gained.moments().estimates()
            found |= {v.key: e for v, e in zip(members, estimates, strict=True) if v != reference}
    return found


def having(
    board: Board, keys: Collection[str], protocol: Protocol, seeds: Sequence[int], metric: Metric
) -> list[Variant]:
    """Those with this metric in every cell: records from before it was added lack it."""
    found = [v for v in board.variants if v.key in keys]
    if not board.scored[metric.name].null_count():
        return found
    lacking = (
        board.scored.filter(pl.col(metric.name).is_null(), pl.col("seed").is_in(list(seeds)))
        .join(cells_of(protocol), on=[*FIT, *TEST])
        .get_column("variant")
    )
    without = set(lacking.unique())
    return [v for v in found if v.key not in without]
