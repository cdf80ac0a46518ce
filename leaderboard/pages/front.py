"""The front page of a board: the leaderboard and what it says."""

from dataclasses import dataclass

import polars as pl
from markupsafe import Markup

from bench.protocol.columns import COUNTED
from bench.seismic import metrics
from leaderboard.figures import cost, palette, svg
from leaderboard.pages import columns
from leaderboard.pages.site_files import Site
from leaderboard.pages.urls import Urls
from leaderboard.stats.comparisons import FEWEST_SEEDS
from leaderboard.stats.estimates import Estimate
from leaderboard.tables import text, verdicts
from leaderboard.tables.advice import Advice
from leaderboard.tables.boards import REFERENCE, Board
from leaderboard.tables.overview import Row, ranked
from leaderboard.tables.standings import Score, Standing


@dataclass(frozen=True, slots=True)
class Item:
    """One table cell of the leaderboard."""

    sort: str
    text: str
    below: str = ""
    mark: str = ""
    """Style class."""
    picture: Markup | None = None
    tip: str | None = None


def write(
    site: Site,
    board: Board,
    rows: list[Row],
    urls: Urls,
    cases: list[tuple[bool, int, list[Advice]]],
) -> None:
    """Write the board's front page."""
    ranges = _ranges(rows)
    items = [[*_scores(row, ranges), *_costs(row), *_origin(row)] for row in rows]
    categories = sorted({row.variant.category for row in rows})
    scored = [p for p in ranked() if any(r.standings[p.name].scores for r in rows)]
    site.page(
        urls.front(board),
        "front",
        rows=list(zip(rows, items, strict=True)),
        heads=columns.heads(),
        groups=columns.groups(),
        switches=columns.switches(),
        shown=(shown := columns.shown(scored)),
        visible={h.key for h in columns.heads() if set(h.needs.split()) <= set(shown)},
        categories=categories,
        signs={row.variant.key: palette.sign(row.variant) for row in rows},
        reference=REFERENCE,
        scatters=_scatters(rows),
        costs=[(c, _named(c)) for c in cost.AXES if any(r.costs[c] is not None for r in rows)],
        variants=[(r.variant, palette.sign(r.variant)) for r in rows],
        views=[(v.name, v.label) for v in scored],
        verdicts=[] if board.trial else _verdicts(rows),
        cases=cases,
        seeds=sorted({s for row in rows for s in row.seeds}),
        families=_families(rows),
        foundations=_most_foundations(board),
        **urls.common(board),
    )


def _scatters(rows: list[Row]) -> list[tuple[str, str, Markup]]:
    return [
        (view.name, axis, figure)
        for view in ranked()
        for axis in cost.AXES
        if (figure := cost.scatter(rows, view, axis))
    ]


def _named(axis: str) -> str:
    column = text.column(axis)
    return f"{column.label} {text.unit(column)}".strip()


def _verdicts(rows: list[Row]) -> list[verdicts.Verdict]:
    """In words, for each protocol: the winner, and the paper's pair."""
    found = (verdicts.verdict(rows, view.name, view.label) for view in ranked())
    return [verdict for verdict in found if verdict]


def _most_foundations(board: Board) -> int:
    """The largest number of foundations that fits of one seed start from."""
    counts = (
        board.fits.filter(pl.col("kind") == "adaptation", pl.col("foundation").is_not_null())
        .group_by("seed")
        .agg(pl.col("foundation").n_unique())
    )
    return max(counts.get_column("foundation").to_list(), default=0)


def _families(rows: list[Row]) -> list[tuple[str, int]]:
    """Label of each protocol that ranks methods, and the number of pairs that it compares."""
    sizes = {v.label: max((r.standings[v.name].pairs for r in rows), default=0) for v in ranked()}
    return [(label, size) for label, size in sizes.items() if size]


def _ranges(rows: list[Row]) -> dict[tuple[str, str], tuple[float, float]]:
    """Common range of the interval pictures of a column."""
    ranges = {}
    for view in ranked():
        for metric in (m.name for m in metrics.METRICS):
            known = [s for r in rows if (s := r.standings[view.name].scores.get(metric))]
            ends = [v for s in known if (e := s.estimate) for v in (e.low, e.high)]
            if ends:
                ranges[view.name, metric] = (min(ends), max(ends))
    return ranges


def _scores(row: Row, ranges: dict[tuple[str, str], tuple[float, float]]) -> list[Item]:
    items = []
    for view in ranked():
        standing = row.standings[view.name]
        if standing.rank:
            best, worst = standing.rank
            shared = str(best) if best == worst else f"{best}–{worst}"
            mark = "rank" if best == worst else "rank shared"
            if standing.provisional:
                mark = "rank provisional"
            items.append(Item(f"{best + worst / 1000:.3f}", shared, mark=mark))
        else:
            items.append(Item("", text.NOTHING, mark="open"))
        for metric in (m.name for m in metrics.METRICS):
            score, gain = standing.scores.get(metric), standing.gains.get(metric)
            if score is None:
                items.append(Item("", text.NOTHING, standing.missing, "open"))
            else:
                items.append(_score(score, metric, ranges.get((view.name, metric)), row))
            items.append(_gain(gain))
        items.append(_ratio(standing))
        if standing.comparison is None:
            items.append(Item("", text.NOTHING, mark="open"))
        else:
            chance = standing.comparison.probability_better
            mark = "open" if standing.provisional else ""
            items.append(Item(f"{chance:.4f}", _probability(chance), mark=mark))
    return items


def _ratio(standing: Standing) -> Item:
    """MAE as a ratio to the floor."""
    if standing.ratio is None:
        return Item("", text.NOTHING, mark="open")
    r = standing.ratio
    told = r.seeds >= FEWEST_SEEDS and not r.low <= 1 <= r.high
    mark = ("up" if r.value < 1 else "down") if told else ""
    return Item(f"{r.value:.4f}", f"{r.value:.2f}", f"{r.low:.2f} … {r.high:.2f}", mark)


def _gain(gain: Estimate | None) -> Item:
    if gain is None:
        return Item("", text.NOTHING, mark="open")
    told = gain.excludes_zero and gain.seeds >= FEWEST_SEEDS
    mark = ("up" if gain.value > 0 else "down") if told else "open"
    below = f"{text.signed(gain.low)} … {text.signed(gain.high)}"
    return Item(f"{gain.value:.4f}", text.signed(gain.value), below, mark)


def _probability(value: float) -> str:
    return "> 0.99" if value > 0.99 else "< 0.01" if value < 0.01 else f"{value:.2f}"


def _score(score: Score, metric: str, ends: tuple[float, float] | None, row: Row) -> Item:
    shown, known = text.amount(score.value, metric), score.estimate
    if known is None or ends is None:
        return Item(f"{score.value:.6f}", shown, tip="No per-sample scores: no interval")
    basis = f"{known.seeds} seeds" if known.seeds > 1 else "one seed: test samples only"
    digits = metrics.get(metric).digits
    ends_shown = [
        text.tip(end, digits) if text.switchable(metric) else text.score(end, metric)
        for end in (known.low, known.high)
    ]
    tip = f"95 % interval {' to '.join(ends_shown)}, {basis}"
    return Item(f"{score.value:.6f}", shown, picture=_interval(known, ends, row), tip=tip)


def _interval(score: Estimate, ends: tuple[float, float], row: Row) -> Markup:
    x = svg.linear(*ends, 4, 80)
    return svg.tag(
        "svg",
        svg.line(0, 5, 84, 5, class_="track"),
        svg.line(x(score.low), 5, x(score.high), 5, class_="whisk"),
        svg.tag("circle", cx=x(score.value), cy=5, r=3, class_="mean"),
        class_=f"interval m-{row.variant.index}",
        width="84",
        height="10",
        viewBox="0 0 84 10",
        aria_hidden="true",
    )


def _costs(row: Row) -> list[Item]:
    costs = [(row.costs[column.name], column.name) for column in COUNTED]
    return [
        Item("" if value is None else f"{value:g}", text.cost(value, name)) for value, name in costs
    ]


def _origin(row: Row) -> list[Item]:
    seeds = ", ".join(map(str, row.seeds))
    return [
        Item(str(len(row.seeds)), str(len(row.seeds)), tip=f"Seeds {seeds}"),
        Item(row.badge, row.badge, mark="badge-cell"),
    ]
