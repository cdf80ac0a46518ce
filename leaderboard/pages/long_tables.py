"""Rows of the longest tables as text: a template takes several times as long for them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from bench.protocol.spec import CLEAN
from bench.seismic import metrics
from leaderboard.stats.comparisons import Comparison
from leaderboard.tables import text

Row = Mapping[str, Any]


def cells(fits: Iterable[Sequence[Row]]) -> Markup:
    """A row for each cell of each fit: what it was trained and tested on, its scores, its run.

    The rows have the columns of `Board.scored`.
    """
    return Markup("".join(_cells(tests) for tests in fits))


def _cells(tests: Sequence[Row]) -> str:
    fit, span = tests[0], len(tests)
    before = (
        f'<th scope="rowgroup" rowspan="{span}">{escape(fit["train"])}</th>'
        f'<td rowspan="{span}">{fit["percent"]}</td><td rowspan="{span}">{fit["seed"]}</td>'
    )
    run = fit["run_id"]
    after = f'<td rowspan="{span}"><a href="../runs/{run}.html">{run[:8]}</a></td>'
    rows = [f"{_tested_on(cell)}{_scores(cell)}" for cell in tests]
    rows[0] = f"{before}{rows[0]}{after}"
    return "".join(f"<tr>{row}</tr>\n" for row in rows)


def _tested_on(cell: Row) -> str:
    condition = f" · {escape(cell['condition'])}" if cell["condition"] != CLEAN else ""
    return f'<td class="left">{escape(cell["dataset"])}{condition}</td>'


def _scores(cell: Row) -> str:
    return "".join(f"<td>{text.amount(cell[m.name], m.name)}</td>" for m in metrics.METRICS)


def runs(entries: Iterable[Row]) -> Markup:
    """A row for each record, with what the page's script searches, filters and sorts by."""
    return Markup("".join(map(_run, entries)))


def _run(e: Row) -> str:
    part = "validation" if e["holdout"] else "test"
    title, run, status, origin = escape(e["title"]), e["run_id"], e["status"], e["origin"]
    words = status.replace("_", " ")
    searched = " ".join((e["title"], run, part, words, origin, e["started"])).lower()
    mae, ssim, seconds = e["mae"], e["ssim"], e["train_seconds"]
    return (
        f'<tr data-text="{escape(searched)}" data-category="{status}"'
        f' data-method="{escape(e["method"])}" data-train="{escape(e["train"] or "")}"'
        f' data-percent="{e["percent"]}" data-seed="{e["seed"]}"'
        f' data-level="{escape(e["level"])}"><th scope="row" class="first" data-sort="{title}">'
        f'<a href="runs/{run}.html">{title}</a></th><td data-sort="{part}">{part}</td>'
        f'<td data-sort="{e["percent"]}">{e["percent"]}</td>'
        f'<td data-sort="{e["seed"]}">{e["seed"]}</td>'
        f'<td data-sort="{_known(mae)}"{" data-mae" if mae is not None else ""}>'
        f'{text.score(mae)}</td><td data-sort="{_known(ssim)}">{text.score(ssim, "ssim")}</td>'
        f'<td data-sort="{_known(seconds)}">{text.duration(seconds)}</td>'
        f'<td data-sort="{status}"><span class="badge {status}">{words}</span></td>'
        f'<td data-sort="{origin}">{origin}</td>'
        f'<td data-sort="{e["started"]}">{e["started"]}</td></tr>\n'
    )


def _known(value: float | None) -> str:
    return "" if value is None else str(value)


def difference(comparison: Comparison | None, *, interval: bool = False) -> Markup:
    """A difference of two methods as a cell of a matrix, with its interval below if asked for."""
    if comparison is None:
        return Markup('<td class="soft">–</td>')
    d, p = comparison.difference, escape(text.p_value(comparison.p_holm))
    side = "up" if comparison.favours_method else "down"
    family = comparison.comparisons
    corrected = f", corrected for {family} pairs" if family > 1 else ""
    below = ""
    if interval:
        low, high = text.change(d.low), text.change(d.high)
        below = f'<span class="ci">{low} … {high}<br>p {p}</span>'
    return Markup(
        f'<td class="{side if comparison.resolved else "open"}"'
        f' data-tip="{text.tip(d.value)} {text.tip_interval(d.low, d.high)}\n'
        f"probability of being better {escape(text.p_value(comparison.probability_better))}\n"
        f'p {p}{corrected}">{text.change(d.value)}{below}</td>'
    )
