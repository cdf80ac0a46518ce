"""The comparison of `bench compare`: methods side by side on one protocol."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.errors import BenchError
from bench.protocol.protocols import Protocol
from bench.seismic.metrics import Metric
from leaderboard.load.results import FOUNDATION
from leaderboard.stats import comparisons, curves
from leaderboard.stats.comparisons import Better, Comparison, Ranked
from leaderboard.stats.curves import Crossover, LowDataCurve
from leaderboard.stats.estimates import Estimate, Floats
from leaderboard.tables import values
from leaderboard.tables.boards import Board
from leaderboard.tables.protocol_cells import cells_of, one_cell
from leaderboard.tables.variants import Variant


class MissingCellsError(BenchError):
    """Cells that a comparison needs are not recorded."""


@dataclass(frozen=True, kw_only=True)
class Against:
    """One method against the reference method."""

    label: str
    comparison: Comparison
    """Corrected for all pairs of the comparison, as on the site."""
    gain: Estimate | None
    """Per cent; None where the reference scores 0."""
    verdict: str


@dataclass(frozen=True, kw_only=True)
class CellRow:
    """One cell: a score for each method and, for each but the reference, the difference to it."""

    train: str
    percent: int
    test: str
    """The dataset, with ``@`` and the condition where it is not clean."""
    scores: tuple[Estimate, ...]
    differences: tuple[Comparison, ...]
    """Corrected by Holm's method over all cells and methods of the comparison."""


@dataclass(frozen=True, kw_only=True)
class LowData:
    """Curves over the fraction of training data, averaged over its cells."""

    curves: tuple[LowDataCurve, ...]
    area_differences: tuple[Estimate, ...]
    """Each method but the reference − the reference."""
    crossovers: tuple[Crossover, ...]


@dataclass(frozen=True, kw_only=True)
class MethodComparison:
    """Everything that `bench compare` reports."""

    board: Board
    protocol: Protocol
    metric: Metric
    seeds: tuple[int, ...]
    labels: tuple[str, ...]
    reference: int
    """Its place among `labels`."""
    against: tuple[Against, ...]
    """The methods but the reference, in the order named."""
    ranked: tuple[Ranked, ...]
    """Best first; `Ranked.method` is a place among `labels`."""
    mean_ranks: tuple[float, ...]
    """Of each method, over cells."""
    ratios: tuple[Estimate, ...] | None
    """Scores as ratios to the floor; None where it is not recorded."""
    cells: tuple[CellRow, ...]
    low_data: LowData | None


def compare(
    board: Board, names: Sequence[str], *, protocol: Protocol, metric: Metric, reference: str
) -> MethodComparison:
    """Compare methods of one board on the seeds they share.

    A name is a method's name or its label on the board. Raises `MissingCellsError` where cells are
    not recorded, and `BenchError` for a name that fits several configs.
    """
    variants = [_variant(board, name, protocol) for name in names]
    have = board.seeds(protocol)
    seeds = tuple(sorted(set.intersection(*(set(have[v.key]) for v in variants))))
    if not seeds:
        raise MissingCellsError(f"{_listed(names)} have no seed in common on {board.title}.")
    found = values.scores(board, variants, protocol, seeds, metric)
    if found is None:
        raise MissingCellsError(
            f"The per-sample scores of {_listed(names)} on {board.title} are not all there, or of "
            "fewer than two samples."
        )
    moments = found.moments()
    place = list(names).index(reference)
    better = metric.better or "lower"
    single = _Cells(board, variants, protocol, seeds, metric)
    ratios = values.ratios_to_floor(board, variants, protocol, seeds, metric)
    gains = values.gains(board, variants, protocol, seeds, metric, variants[place])
    pairs = comparisons.all_pairs(moments, better=better)
    labels = tuple(v.label for v in variants)
    return MethodComparison(
        board=board,
        protocol=protocol,
        metric=metric,
        seeds=seeds,
        labels=labels,
        reference=place,
        against=_against(pairs, gains, labels, place, metric),
        ranked=comparisons.rank(moments, pairs, better=better),
        mean_ranks=tuple(comparisons.mean_ranks(single.means, better=better).tolist()),
        ratios=ratios.moments().estimates() if ratios else None,
        cells=single.rows(place, better),
        low_data=_low_data(board, variants, protocol, seeds, metric, place)
        if len({slot.percent for slot in protocol.fits}) > 1
        else None,
    )


def complete(board: Board, names: Sequence[str], protocol: Protocol) -> bool:
    """Whether the board has every cell of every method named."""
    have = board.seeds(protocol)
    return all(any(have.get(v.key) for v in _named(board, name)) for name in names)


def groups(result: MethodComparison) -> list[str]:
    """Methods that share a rank, best first, in words."""
    ranks = {r.method: r for r in result.ranked}
    lines = []
    for members in comparisons.tied_groups(result.ranked):
        best = ranks[members[0]].rank
        worst = max(ranks[m].worst_rank for m in members)
        span = str(best) if best == worst else f"{best} to {worst}"
        names = ", ".join(result.labels[m] for m in members)
        tied = " (not told apart)" if len(members) > 1 else ""
        lines.append(f"Rank {span}: {names}{tied}")
    return lines


def averages(result: MethodComparison) -> list[str]:
    """Sentences where the sign of a difference depends on how cells are averaged."""
    lines = []
    better = result.metric.better or "lower"
    sign = 1 if better == "lower" else -1
    for against in result.against:
        method, other = result.labels.index(against.label), result.reference
        signs = {"difference of means": np.sign(sign * against.comparison.difference.value)}
        if result.ratios:
            ratio = result.ratios[method].value - result.ratios[other].value
            signs["mean ratio to the floor"] = np.sign(sign * ratio)
        signs["mean rank"] = np.sign(result.mean_ranks[method] - result.mean_ranks[other])
        if len({float(s) for s in signs.values() if s}) > 1:
            wins = [name for name, s in signs.items() if s < 0]
            losses = [name for name, s in signs.items() if s > 0]
            lines.append(
                f"Depends on the average: {against.label} is ahead of {result.labels[other]} by "
                f"{_listed(wins)}, behind by {_listed(losses)}."
            )
    return lines


def _named(board: Board, name: str) -> list[Variant]:
    if name == FOUNDATION:
        return [board.foundation] if board.foundation else []
    exact = [v for v in board.variants if v.label == name]
    return exact or [v for v in board.variants if v.name == name]


def _variant(board: Board, name: str, protocol: Protocol) -> Variant:
    named = _named(board, name)
    fitted = set(board.tested["variant"].to_list())
    if not any(v.key in fitted for v in named):
        known = ", ".join(v.label for v in board.variants)
        raise MissingCellsError(f"'{name}' has no fits on {board.title} (there: {known}).")
    have = board.seeds(protocol)
    found = [v for v in named if have.get(v.key)]
    if not found and protocol.scratch_only and any(v.start == "foundation" for v in named):
        raise BenchError(
            f"'{name}' starts from the foundation, which has seen the pretraining datasets; "
            f"compare '{FOUNDATION}' with methods that start from scratch."
        )
    if not found:
        raise MissingCellsError(
            f"Not all {cells_of(protocol).height} cells of '{name}' for '{protocol.name}' are "
            f"recorded on {board.title}."
        )
    if len(found) > 1:
        labels = ", ".join(f"'{v.label}'" for v in found)
        raise BenchError(f"'{name}' has several recorded configs; name one of {labels}.")
    return found[0]


def _against(
    pairs: dict[tuple[int, int], Comparison],
    gains: values.ScoreArray | None,
    labels: Sequence[str],
    reference: int,
    metric: Metric,
) -> tuple[Against, ...]:
    estimates = gains.moments().estimates() if gains else (None,) * len(labels)
    return tuple(
        Against(
            label=label,
            comparison=pairs[i, reference],
            gain=estimates[i],
            verdict=comparisons.verdict(
                pairs[i, reference],
                method=label,
                reference=labels[reference],
                score=metric.label,
            ),
        )
        for i, label in enumerate(labels)
        if i != reference
    )


class _Cells:
    """The cells of a protocol one by one."""

    def __init__(
        self,
        board: Board,
        variants: Sequence[Variant],
        protocol: Protocol,
        seeds: Sequence[int],
        metric: Metric,
    ) -> None:
        self._cells = [
            (slot.datasets[0], slot.percent, test) for slot in protocol.fits for test in slot.tests
        ]
        found = [
            values.scores(board, variants, one_cell(*cell), seeds, metric) for cell in self._cells
        ]
        self._moments = [cell.moments() for cell in found if cell is not None]

    @property
    def means(self) -> Floats:
        """(methods, cells)"""
        return np.stack([m.means for m in self._moments], axis=1)

    def rows(self, reference: int, better: Better) -> tuple[CellRow, ...]:
        others = [m for m in range(len(self._moments[0].means)) if m != reference]
        pairs = [(m, reference) for m in others]
        family = comparisons.corrected(
            [
                comparison
                for moments in self._moments
                for comparison in comparisons.compare_pairs(moments, pairs, better=better)
            ]
        )
        size = len(pairs)
        return tuple(
            CellRow(
                train=train,
                percent=percent,
                test=test.name,
                scores=moments.estimates(),
                differences=tuple(family[i * size : (i + 1) * size]),
            )
            for i, ((train, percent, test), moments) in enumerate(
                zip(self._cells, self._moments, strict=True)
            )
        )


def _low_data(
    board: Board,
    variants: Sequence[Variant],
    protocol: Protocol,
    seeds: Sequence[int],
    metric: Metric,
    reference: int,
) -> LowData:
    """All methods at all fractions as numbers of one design, so that they stay paired."""
    parts = []
    percents = sorted({slot.percent for slot in protocol.fits})
    for percent in percents:
        slots = tuple(slot for slot in protocol.fits if slot.percent == percent)
        part = Protocol(name=f"lowdata-{percent}", label="", summary="", slots=slots)
        found = values.scores(board, variants, part, seeds, metric)
        assert found is not None, "the whole protocol is there"
        parts.append(found)
    count = len(variants)
    moments = values.ScoreArray(
        np.concatenate([p.methods for p in parts]), parts[0].strata
    ).moments()
    others = [m for m in range(count) if m != reference]
    return LowData(
        curves=tuple(
            curves.low_data_curve(moments, percents, method=m, methods=count) for m in range(count)
        ),
        area_differences=tuple(
            curves.area_difference(moments, percents, m, reference, methods=count) for m in others
        ),
        crossovers=tuple(
            curves.crossover(moments, percents, m, reference, methods=count) for m in others
        ),
    )


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
