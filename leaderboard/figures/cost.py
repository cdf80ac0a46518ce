"""Accuracy against cost, with the Pareto front."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from bench.protocol.protocols import Protocol
from leaderboard.figures import labels, palette, svg
from leaderboard.stats.comparisons import pareto_front
from leaderboard.stats.estimates import Estimate
from leaderboard.tables import text
from leaderboard.tables.overview import Row

AXES = (
    "trainable_parameters",
    "adapter_bytes",
    "saved_bytes_per_sample",
    "flops_per_sample",
)


class Point(NamedTuple):
    """A method in the plane of accuracy and cost."""

    row: Row
    cost: float
    error: float
    interval: Estimate | None


def points(rows: Sequence[Row], view: Protocol, cost: str) -> list[Point]:
    """Methods whose MAE and cost are known."""
    found = []
    for row in rows:
        score, value = row.standings[view.name].scores.get("mae"), row.costs[cost]
        if score and value is not None:
            found.append(Point(row, value, score.value, score.estimate))
    return found


def scatter(rows: Sequence[Row], view: Protocol, cost: str) -> Markup | None:
    """MAE against one cost, logarithmic; None where nothing is known."""
    known = points(rows, view, cost)
    if not known:
        return None
    column = text.column(cost)
    front = pareto_front([p.cost for p in known], [p.error for p in known])
    best = [p for p, on in zip(known, front, strict=True) if on]
    best.sort(key=lambda p: (p.cost, -p.error))
    panel = svg.Panel(
        width=1080,
        height=440,
        title=f"MAE {view.label.lower()} against {column.label.lower()}",
        description="On the Pareto front, cheapest first: "
        + "; ".join(
            f"{p.row.variant.label} ({text.cost(p.cost, cost)}, MAE {p.error:.4f})" for p in best
        ),
        left=62,
        right=26,
        bottom=46,
    )
    x0, x1, y0, y1 = panel.area
    x, places = _cost_axis([p.cost for p in known], cost, x0, x1)
    ends = [
        v for p in known for v in ((p.interval.low, p.interval.high) if p.interval else (p.error,))
    ]
    low, high = svg.around(ends, pad=0.06)
    y = svg.linear(low, high, y0, y1)
    panel.axis_x(text.axis(column), x, places, [text.cost(v, cost) for v in places], grid=True)
    mae = text.axis(text.column("mae"))
    panel.axis_y(f"{mae}, {view.label.lower()}", y, svg.ticks(low, high, 6))
    panel.marks.append(svg.path(_staircase(best, x, y, x1), class_="front"))
    taken = labels.marks((x(p.cost), y(p.error)) for p in known)
    for p in sorted(known, key=lambda p: (p.error, p.row.variant.label)):
        panel.marks.append(_mark(p, x, y, cost, taken, x1))
    return panel.render(kind="wide")


def _cost_axis(
    values: Sequence[float], cost: str, start: float, end: float
) -> tuple[svg.Scale, list[float]]:
    """The scale and the values of its ticks; nothing at all stands where the axis begins."""
    positive = [v for v in values if v > 0] or [1.0]
    low, high = min(positive) / 1.5, max(positive) * 1.5
    scale = svg.logarithmic(low, high, start, end)

    def x(value: float) -> float:
        return scale(value) if value > 0 else start

    places = _binary(low, high) if "bytes" in cost else svg.decades(low, high)
    return x, ([0.0] if min(values) <= 0 else []) + places


def _binary(low: float, high: float) -> list[float]:
    """Powers of two within a range of bytes, eight at most."""
    first, last = math.ceil(math.log2(low)), math.floor(math.log2(high))
    step = max(1, math.ceil((last - first + 1) / 8))
    return [2.0**p for p in range(first, last + 1, step)]


def _staircase(
    best: Sequence[Point], x: svg.Scale, y: svg.Scale, end: float
) -> list[tuple[float, float]]:
    corners: list[tuple[float, float]] = []
    for p in best:
        if corners:
            corners.append((x(p.cost), corners[-1][1]))
        corners.append((x(p.cost), y(p.error)))
    return [*corners, (end, corners[-1][1])] if corners else []


def _mark(
    p: Point, x: svg.Scale, y: svg.Scale, cost: str, taken: list[labels.Box], end: float
) -> Markup:
    """Sign, whisker and name; a name that would lie on another is left to the tooltip."""
    px, py = x(p.cost), y(p.error)
    variant = p.row.variant
    tip = f"{variant.label}\nMAE {text.tip(p.error)}"
    whisker = Markup()
    if p.interval:
        tip += " " + text.tip_interval(p.interval.low, p.interval.high)
        whisker = svg.line(px, y(p.interval.low), px, y(p.interval.high), class_="err")
    tip += f"\n{text.label(cost)}: {text.cost(p.cost, cost)}"
    label = labels.beside(variant.label, px, py, taken, end)
    return svg.tag(
        "g",
        whisker,
        svg.marker(px, py, variant.index, class_="dot", size=5.5, tabindex="0", data_tip=tip),
        label,
        class_=palette.classes(variant),
    )
