"""Low-data curves: score against the part of the training data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from bench.protocol.spec import PERCENTS
from leaderboard.figures import palette, svg
from leaderboard.stats.estimates import Estimate
from leaderboard.tables import text
from leaderboard.tables.variants import Variant


@dataclass(frozen=True, slots=True)
class Curve:
    """Low-data curve of one method: by per cent, the score and its interval."""

    variant: Variant
    values: Mapping[int, float]
    intervals: Mapping[int, Estimate]


@dataclass(frozen=True, slots=True)
class Printed:
    """A curve of the paper."""

    method: str
    place: int
    """Among the paper's methods: the legend's."""
    values: Mapping[int, float]
    suspect: frozenset[int]
    """Per cents whose numbers as printed cannot be relied on."""
    dashes: str


def panel(
    curves: Sequence[Curve], printed: Sequence[Printed], *, train: str, test: str, metric: str
) -> Markup:
    """All methods, fitted on `train`, tested on `test`."""
    own = " (in distribution)" if train == test else ""
    return plot(
        curves,
        printed,
        title=f"{text.label(metric)}, trained on {train}, tested on {test}",
        head=f"on {text.dataset(test)}{own}",
        metric=metric,
    )


def plot(
    curves: Sequence[Curve], printed: Sequence[Printed], *, title: str, head: str, metric: str
) -> Markup:
    """Curves over the part of the training data; `head` stands above them."""
    values = [v for c in curves for v in c.values.values()]
    values += [v for c in curves for e in c.intervals.values() for v in (e.low, e.high)]
    values += [v for p in printed for v in p.values.values()]
    low, high = svg.around(values)
    made = svg.Panel(
        width=560,
        height=330,
        title=title,
        description="; ".join(
            f"{c.variant.label} "
            + ", ".join(f"{p} %: {v:.4f}" for p, v in sorted(c.values.items()))
            for c in curves
        ),
        top=24,
        left=58,
    )
    x0, x1, y0, y1 = made.area
    x = svg.linear(min(PERCENTS), max(PERCENTS), x0 + 18, x1 - 16)
    y = svg.linear(low, high, y0, y1)
    made.axis_x("training data (%)", x, PERCENTS)
    made.axis_y(text.axis(text.column(metric)), y, svg.ticks(low, high, 5))
    made.marks.append(svg.text(x0, 13, head, class_="head"))
    made.marks.extend(_printed(p, x, y, metric) for p in printed)
    made.marks.extend(
        _curve(c, _beside(x, i, len(curves)), y, metric) for i, c in enumerate(curves)
    )
    return made.render()


def _beside(x: svg.Scale, place: int, count: int) -> svg.Scale:
    """Whiskers of different methods at the same per cent stand side by side."""
    shift = (place - (count - 1) / 2) * min(5.0, 24 / count)
    return lambda value: x(value) + shift


def _curve(curve: Curve, x: svg.Scale, y: svg.Scale, metric: str) -> Markup:
    label = text.label(metric)
    steps = sorted(curve.values)
    band = [p for p in steps if p in curve.intervals]
    edge = [(x(p), y(curve.intervals[p].high)) for p in band]
    edge += [(x(p), y(curve.intervals[p].low)) for p in reversed(band)]
    dots = []
    for p in steps:
        if p in curve.intervals:
            e = curve.intervals[p]
            dots.append(svg.line(x(p), y(e.low), x(p), y(e.high), class_="thin"))
        tip = f"{curve.variant.label}, {p} %\n{label} {_number(curve.values[p], metric)}"
        if p in curve.intervals:
            tip += f" ({_number(e.low, metric)} to {_number(e.high, metric)})"
        dots.append(
            svg.marker(
                x(p), y(curve.values[p]), curve.variant.index, size=4, class_="dot", data_tip=tip
            )
        )
    return svg.tag(
        "g",
        svg.area(edge, class_="band") if len(band) > 1 else Markup(),
        svg.path([(x(p), y(curve.values[p])) for p in steps], class_="series"),
        *dots,
        class_=palette.classes(curve.variant),
    )


def _number(value: float, metric: str, digits: int = 4) -> str:
    return text.tip(value, digits) if text.switchable(metric) else f"{value:.{digits}f}"


def _printed(curve: Printed, x: svg.Scale, y: svg.Scale, metric: str) -> Markup:
    """As printed; numbers that cannot be right are marked with a cross."""
    steps = sorted(curve.values)
    marks = [
        svg.path(
            [(x(p), y(curve.values[p])) for p in steps],
            class_="printed",
            stroke_dasharray=curve.dashes,
        )
    ]
    for p in steps:
        doubt = "\nas printed; flagged as unreliable" if p in curve.suspect else "\nas printed"
        tip = f"{curve.method} (paper), {p} %\n{_number(curve.values[p], metric, 3)}{doubt}"
        a, b = x(p), y(curve.values[p])
        sign = (
            f"M{a - 3:.1f} {b - 3:.1f}l6 6m0 -6l-6 6"
            if p in curve.suspect
            else f"M{a:.1f} {b:.1f}h0"
        )
        marks.append(svg.tag("path", d=sign, class_="printed-mark", data_tip=tip))
    return svg.tag("g", *marks, class_=f"s-paper-{curve.place}")


def dash(dashes: str) -> Markup:
    """A sample of a curve of the paper, for a legend."""
    return svg.tag(
        "svg",
        svg.line(0, 7, 26, 7, class_="printed", stroke_dasharray=dashes),
        class_="plot",
        viewBox="0 0 26 14",
        width="26",
        height="14",
        aria_hidden="true",
    )
