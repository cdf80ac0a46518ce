"""Grouped bars of gains in per cent, with intervals, as in the paper's Figs 2, 3, 5, 6, 14, 15."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from leaderboard.figures import svg
from leaderboard.stats.estimates import Estimate
from leaderboard.tables import text


def gains(
    values: Mapping[tuple[str, str], Estimate | float],
    groups: Sequence[str],
    series: Sequence[str],
    *,
    title: str,
    head: str,
    axis: str,
    width: float = 310,
    height: float = 236,
    colours: Sequence[int] | None = None,
) -> Markup:
    """A group of bars for each of `groups`, a bar for each of `series`; pale: unresolved.

    `colours` are the series' places in the palette; without it, their order.
    """
    fills = list(colours) if colours is not None else list(range(len(series)))
    ends = [
        e for v in values.values() for e in ((v.low, v.high) if isinstance(v, Estimate) else (v,))
    ]
    low, high = svg.around(ends, zero=True)
    panel = svg.Panel(
        width=width,
        height=height,
        title=title,
        description="; ".join(f"{g}, {s}: {_value(v):+.1f} %" for (g, s), v in values.items()),
        top=24,
        left=50,
    )
    x0, x1, y0, y1 = panel.area
    y = svg.linear(low, high, y0, y1)
    step = (x1 - x0) / max(len(groups), 1)
    bar = min(step * 0.76 / max(len(series), 1), 26)
    panel.marks.append(svg.text(x0, 13, head, class_="head"))
    places = svg.ticks(low, high, 5)
    digits = 0 if all(v == int(v) for v in places) else 1
    panel.axis_y("gain (%)", y, places, [text.signed(v, digits) for v in places])
    panel.axis_x(axis, lambda i: x0 + step * (i + 0.5), range(len(groups)), groups)
    panel.marks.append(svg.line(x0, y(0), x1, y(0), class_="zero"))
    for i, group in enumerate(groups):
        for j, one in enumerate(series):
            value = values.get((group, one))
            if value is not None:
                x = x0 + step * (i + 0.5) + bar * (j - len(series) / 2)
                panel.marks.append(_bar(value, x, bar, y, fills[j], f"{group}\n{one}"))
    return panel.render()


def legend(series: Sequence[str], colours: Sequence[int] | None = None) -> Markup:
    """Legend of the series: colours with their names."""
    fills = list(colours) if colours is not None else list(range(len(series)))
    items = [
        svg.tag(
            "li",
            svg.tag(
                "svg",
                svg.tag("rect", width=12, height=12, rx=2, class_=f"fill-{fills[j]}"),
                class_="plot swatch",
                width="12",
                height="12",
                aria_hidden="true",
            ),
            svg.tag("span", name),
        )
        for j, name in enumerate(series)
    ]
    return svg.tag("ul", *items, class_="key")


def _bar(
    value: Estimate | float, x: float, width: float, y: svg.Scale, index: int, name: str
) -> Markup:
    middle = _value(value)
    top, bottom = sorted((y(middle), y(0)))
    tip = f"{name}\n{text.signed(middle)} %"
    unresolved = ""
    whisker = Markup()
    if isinstance(value, Estimate):
        tip += f" ({text.signed(value.low)} to {text.signed(value.high)})"
        unresolved = "" if value.excludes_zero else " pale"
        centre = x + width / 2
        whisker = svg.line(centre, y(value.low), centre, y(value.high), class_="bar-err")
    rect = svg.tag(
        "rect",
        x=x + 0.75,
        y=top,
        width=max(width - 1.5, 1.0),
        height=max(bottom - top, 0.5),
        rx=1.5,
        class_=f"fill-{index}{unresolved}",
    )
    return svg.tag("g", rect, whisker, data_tip=tip)


def _value(value: Estimate | float) -> float:
    return value.value if isinstance(value, Estimate) else value
