"""Accuracy under a changed acquisition: error against severity, a line a method."""

from collections.abc import Sequence

from markupsafe import Markup

from leaderboard.figures import palette, svg
from leaderboard.tables import text
from leaderboard.tables.severity import ErrorsUnderShift, Series
from leaderboard.tables.variants import Variant

_WIDTH, _HEIGHT = 400.0, 300.0
_TICKS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0)


def panels(shift: ErrorsUnderShift) -> list[Markup]:
    """A panel for each series, all on one logarithmic scale: equal steps are equal ratios."""
    known = [e for found in shift.errors.values() for e in found.values()]
    low = min(max(e.low, e.value / 2) for e in known) / 1.05
    high = max(e.high for e in known) * 1.05
    return [_panel(series, shift.variants, low, high) for series in shift.series]


def _panel(series: Series, variants: Sequence[Variant], low: float, high: float) -> Markup:
    panel = svg.Panel(
        width=_WIDTH,
        height=_HEIGHT,
        title=f"MAE against {series.name}",
        description="MAE on [−1, 1]: "
        + "; ".join(
            f"{v.label} "
            + ", ".join(f"{s.tick}: {s.errors[v.key].value:.3f}" for s in series.steps)
            for v in variants
        ),
        top=24,
        left=54,
    )
    x0, x1, y0, y1 = panel.area
    x = svg.linear(0, len(series.steps) - 1, x0 + 36, x1 - 36)
    inner = svg.logarithmic(low, high, y0, y1)

    def y(error: float) -> float:
        return inner(max(error, low))

    panel.axis_x(series.axis, x, range(len(series.steps)), [s.tick for s in series.steps])
    panel.axis_y(text.axis(text.column("mae")), y, [v for v in _TICKS if low <= v <= high])
    panel.marks.append(svg.text(x0, 13, series.name, class_="head"))
    for i, variant in enumerate(variants):
        shift = (i - (len(variants) - 1) / 2) * min(5.0, 36 / len(variants))
        panel.marks.append(_line(series, variant, x, y, shift))
    return panel.render()


def _line(series: Series, variant: Variant, x: svg.Scale, y: svg.Scale, shift: float) -> Markup:
    """Whiskers of different methods stand side by side."""
    marks, points = [], []
    for i, step in enumerate(series.steps):
        e, px = step.errors[variant.key], x(i) + shift
        points.append((px, y(e.value)))
        tip = f"{variant.label}, {step.tick}\nMAE {text.tip(e.value)} "
        tip += text.tip_interval(e.low, e.high)
        marks.append(svg.line(px, y(e.low), px, y(e.high), class_="thin"))
        marks.append(
            svg.marker(px, y(e.value), variant.index, size=3.6, class_="dot", data_tip=tip)
        )
    return svg.tag("g", svg.path(points, class_="series"), *marks, class_=palette.classes(variant))
