"""A comparison as tables and sentences."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from bench.cli.terminal import table

if TYPE_CHECKING:
    from leaderboard.stats.estimates import Estimate
    from leaderboard.tables.comparison import MethodComparison
    from leaderboard.tables.reference_comparison import PublishedCell


def show(result: "MethodComparison") -> None:
    """Print cells, ranking, low-data curves and verdicts."""
    from leaderboard.tables import comparison

    board, reference = result.board, result.labels[result.reference]
    seeds = ", ".join(map(str, result.seeds))
    typer.echo(
        f"{result.protocol.label}, {result.metric.label}, track {board.key.track}, "
        f"{board.key.backbone}, {len(result.cells)} cells, seed {seeds}. {result.protocol.summary}"
    )
    if result.low_data:
        _curves(result)
    else:
        _cells(result)
    _ranking(result)
    if len(result.labels) > 2:
        for line in comparison.groups(result):
            typer.echo(line)
    pairs = len(result.labels) * (len(result.labels) - 1) // 2
    if pairs > 1:
        typer.echo(
            f"Ranks and verdicts: the {pairs} pairs of these methods are one family of "
            "comparisons, corrected by Holm's method; the site corrects over all pairs of a board."
        )
    elif not result.low_data:
        typer.echo(
            f"One comparison over all cells, uncorrected; single cells: {len(result.cells)} "
            "comparisons, corrected by Holm's method. The site corrects over all pairs of a board."
        )
    for against in result.against:
        gain = f" Gain over {reference}: {_interval(against.gain, 1)} %." if against.gain else ""
        typer.echo(f"{against.verdict}{gain}")
    for line in comparison.averages(result):
        typer.echo(line)


def show_reference(rows: "Sequence[PublishedCell]", other_data: str | None) -> None:
    """Print published numbers next to ours."""
    if not rows:
        typer.echo("No published number has one of these cells beside it.")
        return
    flagged = list(dict.fromkeys(row.flag for row in rows if row.flag))
    marks = {flag: f"[{number}]" for number, flag in enumerate(flagged, start=1)}
    table(
        ("fitted on", "#%", "tested on", "method", "#ours", "#published", "source"),
        [
            (
                row.train,
                str(row.percent),
                row.test,
                row.method,
                f"{row.ours:.4f}",
                f"{row.published} {marks.get(row.flag, '')}".strip(),
                row.source,
            )
            for row in rows
        ],
        title="Published numbers beside ours",
    )
    for flag, mark in marks.items():
        typer.echo(f"{mark} {flag}")
    if other_data:
        typer.echo(other_data)


def _cells(result: "MethodComparison") -> None:
    pair = len(result.labels) == 2
    columns = ["fitted on", "tested on", *(f"#{label}" for label in result.labels)]
    if pair:
        columns += ["#difference [95 %]", "#P(better)", "resolved"]
    rows = []
    for cell in result.cells:
        row = [cell.train, cell.test, *(f"{s.value:.4f}" for s in cell.scores)]
        if pair:
            (comparison,) = cell.differences
            row += [
                _interval(comparison.difference, 4),
                f"{100 * comparison.probability_better:.0f} %",
                "yes" if comparison.resolved else "no",
            ]
        rows.append(row)
    table(columns, rows)


def _ranking(result: "MethodComparison") -> None:
    ratios = result.ratios
    columns = ["#rank", "method", f"#{result.metric.label} [95 %]", "#mean rank over cells"]
    if ratios:
        columns.append("#× floor [95 %]")
    rows = []
    for r in result.ranked:
        row = [
            f"{r.rank}" if r.rank == r.worst_rank else f"{r.rank}–{r.worst_rank}",
            result.labels[r.method],
            _interval(r.score, 4),
            f"{result.mean_ranks[r.method]:.2f}",
        ]
        rows.append([*row, _interval(ratios[r.method], 2)] if ratios else row)
    table(columns, rows, title="Mean over cells")


def _curves(result: "MethodComparison") -> None:
    low = result.low_data
    assert low is not None
    rows = [
        [f"{percent:g} %", *(_interval(curve.points[i], 4) for curve in low.curves)]
        for i, percent in enumerate(low.curves[0].fractions_percent)
    ]
    rows.append(["area under curve", *(_interval(curve.area, 4) for curve in low.curves)])
    table(["training data", *(f"#{label} [95 %]" for label in result.labels)], rows)
    reference = result.labels[result.reference]
    others = [label for i, label in enumerate(result.labels) if i != result.reference]
    for label, area, crossing in zip(others, low.area_differences, low.crossovers, strict=True):
        typer.echo(f"Area, {label} − {reference}: {_interval(area, 4)}.")
        if crossing.fraction_percent is None:
            typer.echo(f"The curves of {label} and {reference} do not cross.")
            continue
        state = "resolved" if crossing.resolved else "not resolved"
        typer.echo(
            f"The curves of {label} and {reference} cross at {crossing.fraction_percent:.0f} % of "
            f"the training data; {state}."
        )


def _interval(estimate: "Estimate", digits: int) -> str:
    low, value, high = (
        f"{x:.{digits}f}".replace("-", "−") for x in (estimate.low, estimate.value, estimate.high)
    )
    return f"{value} [{low}, {high}]"
