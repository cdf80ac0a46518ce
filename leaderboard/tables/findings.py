"""Claims of the paper on a board: the printed number, ours with its interval, and a verdict.

All contrasts of a board are one family, corrected by Holm's method.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import mean
from typing import Any, Literal

import numpy as np
import polars as pl

from bench.protocol.protocols import Protocol, Slot
from bench.protocol.spec import TARGETS, TestSet
from bench.seismic import metrics
from leaderboard.load.results import FOUNDATION
from leaderboard.stats import comparisons
from leaderboard.stats.comparisons import FEWEST_SEEDS, Comparison
from leaderboard.tables import memory, text, values
from leaderboard.tables.boards import CLAIMED, REFERENCE, Board
from leaderboard.tables.claims import SCRATCH, STEP, Cell, Claim, Term, claims
from leaderboard.tables.reference_comparison import PAPER_NAMES
from leaderboard.tables.variants import Variant

Verdict = Literal[
    "holds",
    "does not hold",
    "not resolved",
    "depends on the average",
    "depends on the measure",
    "not run",
]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A claim on a board."""

    claim: Claim
    verdict: Verdict
    printed: str
    ours: tuple[tuple[str, str], ...] = ()
    """What is compared, and its value as text."""
    comparison: Comparison | None = None
    note: str = ""
    runs: tuple[tuple[str, str], ...] = ()
    """Run id and title of every run behind it."""


def findings(board: Board, paper: pl.DataFrame) -> list[Finding]:
    """Every claim on this board; verdicts on errors are corrected as one family."""
    found = [_cost(board, c) if c.cost else _score(board, c, paper) for c in claims()]
    tested = [i for i, f in enumerate(found) if f.comparison]
    family = comparisons.corrected([c for f in found if (c := f.comparison)])
    for i, comparison in zip(tested, family, strict=True):
        found[i] = _judged(board, replace(found[i], comparison=comparison))
    return found


def _protocol(cells: tuple[Cell, ...]) -> Protocol:
    """The cells as a protocol; its name is its identity on a board."""
    slots: dict[tuple[str, int], list[TestSet]] = {}
    for train, percent, test in cells:
        slots.setdefault((train, percent), []).append(TestSet(dataset=test))
    return Protocol(
        name="claim " + " ".join(f"{a}-{p}-{b}" for a, p, b in cells),
        label="",
        summary="",
        slots=tuple(
            Slot(datasets=(train,), percent=percent, tests=tuple(tests))
            for (train, percent), tests in slots.items()
        ),
    )


def _variant(board: Board, name: str) -> Variant | None:
    """The method of that name; of several configs the reference or the one with most fits."""
    if name == FOUNDATION:
        return board.foundation
    if name == REFERENCE:
        return board.reference
    counts = Counter(board.tested["variant"].to_list())
    named = [v for v in board.variants if v.name == name]
    return max(named, key=lambda v: counts[v.key], default=None)


def _label(term: Term) -> str:
    percents = {percent for _, percent, _ in term.cells}
    part = "" if percents == {100} else f", {percents.pop()} %"
    return f"{text.method(term.method)}{part}"


def _score(board: Board, claim: Claim, paper: pl.DataFrame) -> Finding:
    printed = claim.printed or _printed(claim, paper)
    variants = [_variant(board, term.method) for term in claim.terms]
    protocols = [_protocol(term.cells) for term in claim.terms]
    known = [v for v in variants if v]
    missing = Finding(claim=claim, verdict="not run", printed=printed)
    if len(known) < len(variants):
        return missing
    seeds = sorted(
        set.intersection(
            *(set(board.seeds(p).get(v.key, ())) for v, p in zip(known, protocols, strict=True))
        )
    )
    metric = metrics.get(claim.metric)
    found = [
        values.scores(board, [v], p, seeds, metric) for v, p in zip(known, protocols, strict=True)
    ]
    arrays = [array for array in found if array]
    if not seeds or len(arrays) < len(found):
        return missing
    moments = values.ScoreArray(
        np.concatenate([a.methods for a in arrays]), arrays[0].strata
    ).moments()
    signs = [term.sign for term in claim.terms]
    difference = moments.contrasts(np.asarray(signs, dtype=np.float64))[0]
    return Finding(
        claim=claim,
        verdict="not resolved",
        printed=printed,
        ours=tuple(
            (_label(term), text.amount(float(value), metric.name))
            for term, value in zip(claim.terms, moments.means, strict=True)
        ),
        comparison=Comparison(
            difference=difference, better=metric.better or "lower", p_holm=difference.p_value
        ),
        runs=_runs(board, known, claim.terms, seeds),
    )


def _judged(board: Board, finding: Finding) -> Finding:
    """The finding with its verdict, and what the verdict leaves open."""
    comparison = finding.comparison
    assert comparison is not None
    d = comparison.difference
    if d.seeds < FEWEST_SEEDS:
        note = f"{d.seeds} {'seed' if d.seeds == 1 else 'seeds'}: {FEWEST_SEEDS} are needed."
        return replace(finding, verdict="not resolved", note=note)
    apart = _averages(board, finding)
    if not comparison.resolved:
        corrected = (
            f"The interval excludes zero; after Holm’s correction for {comparison.comparisons} "
            "claims it is not resolved."
        )
        notes = (corrected if d.excludes_zero else "", apart)
        return replace(finding, note=" ".join(filter(None, notes)))
    if apart:
        return replace(finding, verdict="depends on the average", note=apart)
    if not comparison.favours_method:
        return replace(finding, verdict="does not hold")
    against = _against(board, finding) if finding.claim.every else []
    if against:
        note = f"Holds on average, but not on {', '.join(against)}."
        return replace(finding, verdict="depends on the average", note=note)
    return replace(finding, verdict="holds")


def _cells(board: Board, finding: Finding) -> list[tuple[Cell, float, float]]:
    """Each cell with the scores of both methods, for a claim on two methods on the same cells."""
    first, second, *more = finding.claim.terms
    ours, theirs = _variant(board, first.method), _variant(board, second.method)
    if more or first.cells != second.cells or not ours or not theirs:
        return []
    found = []
    for cell in first.cells:
        rows = {row["variant"]: row[finding.claim.metric] for row in board.cell_means[cell]}
        found.append((cell, rows[ours.key], rows[theirs.key]))
    return found


def _against(board: Board, finding: Finding) -> list[str]:
    """Cells whose mean contradicts the claim."""
    sign = 1 if metrics.get(finding.claim.metric).better == "lower" else -1
    return [
        text.dataset(test if test == train else f"{train} → {test}")
        for (train, _, test), a, b in _cells(board, finding)
        if sign * (a - b) > 0
    ]


def _averages(board: Board, finding: Finding) -> str:
    """Which averages are for and which against the claim; empty where they agree."""
    cells = _cells(board, finding)
    floors = {row["dataset"]: row[finding.claim.metric] for row in board.floors.to_dicts()}
    sign = 1 if metrics.get(finding.claim.metric).better == "lower" else -1
    signs = {}
    if len(cells) > 1:
        signs["difference of means"] = sign * mean(a - b for _, a, b in cells)
        signs["cells won"] = sign * sum(np.sign(a - b) for _, a, b in cells)
        if all(floors.get(test) for (_, _, test), _, _ in cells) and sign > 0:
            ratio = mean((a - b) / floors[test] for (_, _, test), a, b in cells)
            signs["ratio to the floor"] = ratio
    wins = [name for name, s in signs.items() if s < 0]
    losses = [name for name, s in signs.items() if s > 0]
    if not wins or not losses:
        return ""
    return f"For it: {', '.join(wins)}. Against it: {', '.join(losses)}."


def _printed(claim: Claim, paper: pl.DataFrame) -> str:
    """Means of the paper's own numbers over the cells, misprints left out for all methods."""
    numbers: list[dict[str, float]] = []
    tables: set[str] = set()
    width = len(claim.terms[0].cells)
    for place in range(width):
        rows: list[dict[str, Any]] = []
        for term in claim.terms:
            train, percent, test = term.cells[place]
            rows += paper.filter(
                (pl.col("train_dataset") == train)
                & (pl.col("test_dataset") == test)
                & (pl.col("fraction_percent") == percent)
                & (pl.col("method") == PAPER_NAMES.get(term.method, ""))
                & (pl.col("metric") == claim.metric)
            ).to_dicts()[:1]
        if len(rows) == len(claim.terms) and not any(row["suspect"] for row in rows):
            tables |= {row["table"] for row in rows}
            labels = [_label(term) for term in claim.terms]
            numbers.append({a: row["value"] for a, row in zip(labels, rows, strict=True)})
    if not numbers:
        return "no number"
    shown = ", ".join(f"{label} {mean(n[label] for n in numbers):.3f}" for label in numbers[0])
    order = ("II", "V", "VI", "VII", "VIII", "IX")
    listed = ", ".join(sorted(tables, key=order.index))
    left = width - len(numbers)
    without = f"; {left} misprinted {'cell' if left == 1 else 'cells'} left out" if left else ""
    return f"{shown} (Table{'s' if len(tables) > 1 else ''} {listed}{without})"


def _cost(board: Board, claim: Claim) -> Finding:
    """A counted cost of LoRA against those of the paper's two other methods."""
    known: dict[str, float] = {}
    peaks: dict[str, float] = {}
    runs: list[tuple[str, str]] = []
    for name in (CLAIMED, REFERENCE, SCRATCH):
        variant = _variant(board, name)
        if variant is None:
            continue
        if claim.cost == STEP:
            step = memory.table(board).get(variant.key)
            if step:
                known[name] = step.total(board.track.fit.batch)
                peaks |= {name: step.measured} if step.measured else {}
            continue
        own = board.tested.filter(
            pl.col("variant") == variant.key,
            pl.col("train").is_in(list(TARGETS)),
            pl.col("percent") == 100,
            pl.col("numerics").eq_missing(board.numerics),
            pl.col(claim.cost).is_not_null(),
        )
        if not own.is_empty():
            known[name] = float(np.median(own[claim.cost].to_numpy()))
            runs += list(own.select("run_id", "title").iter_rows())
    ours = tuple((text.method(n), text.cost(v, claim.cost)) for n, v in known.items())
    rivals = [value for name, value in known.items() if name != CLAIMED]
    if CLAIMED not in known or not rivals:
        return Finding(claim=claim, verdict="not run", printed=claim.printed)
    verdict: Verdict = "holds" if known[CLAIMED] < min(rivals) else "does not hold"
    note = "Counted, so without an interval."
    if peaks.keys() == known.keys():
        least = peaks[CLAIMED] < min(v for name, v in peaks.items() if name != CLAIMED)
        if least != (verdict == "holds"):
            verdict = "depends on the measure"
            measured = ", ".join(f"{text.method(n)} {text.size(v)}" for n, v in peaks.items())
            note += f" Measured peaks on {board.machine} say otherwise: {measured}."
    return Finding(
        claim=claim, verdict=verdict, printed=claim.printed, ours=ours, note=note, runs=tuple(runs)
    )


def _runs(
    board: Board, variants: Sequence[Variant], terms: Sequence[Term], seeds: Sequence[int]
) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for variant, term in zip(variants, terms, strict=True):
        for train, percent, _ in term.cells:
            by_seed = board.runs(variant, train, percent)
            found |= {by_seed[s]["run_id"]: by_seed[s]["title"] for s in seeds}
    return tuple(found.items())
