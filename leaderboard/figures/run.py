"""Figures of one run: its learning curve and the spread of its scores."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from bench.record import Epoch
from leaderboard import svg, text
from leaderboard.samples import METRICS, Scores

_DOTS = 150
"""Up to this many samples are drawn one by one."""


def learning_curve(curve: Sequence[Epoch]) -> Markup:
    """Training loss over epochs, logarithmic."""
    losses = [e.loss for e in curve]
    known = [v for v in losses if np.isfinite(v) and v > 0] or [1.0]
    low, high = min(known) / 1.1, max(known) * 1.1
    panel = svg.Panel(
        width=560,
        height=250,
        title="Learning curve",
        description=f"Training loss from {losses[0]:.3g} in the first to {losses[-1]:.3g} in the "
        f"last of {len(losses)} epochs.",
        left=56,
    )
    x0, x1, y0, y1 = panel.area
    x = svg.linear(1, max(len(losses), 2), x0 + 6, x1)
    y = svg.logarithmic(low, high, y0, y1)
    places = [v for v in svg.ticks(1, max(len(losses), 2), 6) if v == int(v)]
    panel.axis_x("epoch", [(x(v), f"{v:.0f}") for v in places])
    marks = svg.ticks(low, high, 4) if high / low < 30 else svg.decades(low, high)
    panel.axis_y("training loss (L1 on [−1, 1])", [(y(v), f"{v:g}") for v in marks])
    points = [(x(e.epoch + 1), y(e.loss)) for e in curve if np.isfinite(e.loss) and e.loss > 0]
    panel.marks.append(svg.path(points, class_="curve"))
    return panel.render()


def spread(scores: Scores) -> Markup:
    """Per-sample MAE of each cell: every sample or the quartiles, and the mean."""
    row, names = 44, list(scores)
    maes = {name: np.asarray(scores[name][METRICS.index("mae")], np.float64) for name in names}
    panel = svg.Panel(
        width=560,
        height=54 + row * len(names),
        title="Spread of the per-sample MAE",
        description="; ".join(
            f"{name}: median {np.median(v):.3f}, quartiles {np.quantile(v, 0.25):.3f} and "
            f"{np.quantile(v, 0.75):.3f}, {len(v)} samples"
            for name, v in maes.items()
        ),
        left=106,
    )
    x0, x1, _, _ = panel.area
    high = max((float(v.max()) for v in maes.values()), default=1.0) * 1.05 or 1.0
    x = svg.linear(0, high, x0, x1)
    panel.axis_x("MAE on [−1, 1]", [(x(v), f"{v:g}") for v in svg.ticks(0, high, 6)], grid=True)
    for i, (name, values) in enumerate(maes.items()):
        middle = panel.top + row * (i + 0.5)
        panel.marks.append(
            svg.text(x0 - 10, middle + 4, text.dataset(name), class_="tick", text_anchor="end")
        )
        panel.marks.extend(_strip(values, x, middle))
    return panel.render()


def _strip(values: np.ndarray, x: svg.Scale, middle: float) -> list[Markup]:
    low, first, median, third, high = (float(q) for q in np.quantile(values, (0, 0.25, 0.5, 0.75, 1)))
    marks = [
        svg.line(x(low), middle, x(high), middle, class_="whisker"),
        svg.tag("rect", x=x(first), y=middle - 9, width=max(x(third) - x(first), 1.0), height=18,
                class_="box"),
        svg.line(x(median), middle - 9, x(median), middle + 9, class_="median"),
    ]  # fmt: skip
    if len(values) <= _DOTS:
        d = "".join(f"M{x(float(v)):.1f} {middle + (i % 5 - 2) * 3:.0f}h0" for i, v in enumerate(values))
        marks.append(svg.tag("path", d=d, class_="dots"))
    return marks
