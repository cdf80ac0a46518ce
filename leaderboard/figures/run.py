"""Figures of one run: its learning curve and the spread of its scores."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from math import inf

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from bench.records.record import Epoch
from leaderboard.figures import svg
from leaderboard.tables import text

_DOTS = 150
"""Up to this many samples are drawn one by one."""


def learning_curve(curve: Sequence[Epoch]) -> Markup:
    """Training loss over epochs, logarithmic."""
    losses = [e.loss for e in curve]
    known = [v for v in losses if 0 < v < inf] or [1.0]
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
    panel.axis_x("epoch", x, places)
    marks = svg.ticks(low, high, 4) if high / low < 30 else svg.decades(low, high)
    panel.axis_y("training loss (L1 on [−1, 1])", y, marks)
    points = [(x(e.epoch + 1), y(e.loss)) for e in curve if 0 < e.loss < inf]
    panel.marks.append(svg.path(points, class_="curve"))
    return panel.render()


def spread(scores: Mapping[str, npt.NDArray[np.float32]]) -> Markup:
    """Per-sample MAE of each cell: the quartiles, and every sample where there are few."""
    row, names = 44, list(scores)
    maes = [scores[name].astype(np.float64) for name in names]
    fives = [quartiles(values) for values in maes]
    panel = svg.Panel(
        width=560,
        height=54 + row * len(names),
        title="Spread of the per-sample MAE",
        description="; ".join(
            f"{name}: median {five[2]:.3f}, quartiles {five[1]:.3f} and {five[3]:.3f}, "
            f"{len(values)} samples"
            for name, values, five in zip(names, maes, fives, strict=True)
        ),
        left=106,
    )
    x0, x1, _, _ = panel.area
    high = max((five[4] for five in fives), default=1.0) * 1.05 or 1.0
    x = svg.linear(0, high, x0, x1)
    panel.axis_x("MAE on [−1, 1]", x, svg.ticks(0, high, 6), grid=True)
    for i, (name, values, five) in enumerate(zip(names, maes, fives, strict=True)):
        middle = panel.top + row * (i + 0.5)
        panel.marks.append(
            svg.text(x0 - 10, middle + 4, text.dataset(name), class_="tick", text_anchor="end")
        )
        panel.marks.append(_strip(values, five, x, middle))
    return panel.render()


def quartiles(values: npt.NDArray[np.float64]) -> tuple[float, float, float, float, float]:
    """Minimum, quartiles and maximum, linearly interpolated."""
    ordered = np.sort(values).tolist()
    last = len(ordered) - 1

    def at(share: float) -> float:
        whole, part = divmod(share * last, 1)
        i = int(whole)
        return float(ordered[i] + part * (ordered[min(i + 1, last)] - ordered[i]))

    return at(0), at(0.25), at(0.5), at(0.75), at(1)


def _strip(
    values: npt.NDArray[np.float64],
    five: tuple[float, float, float, float, float],
    x: svg.Scale,
    middle: float,
) -> Markup:
    """Written out: there are tens of thousands of these on a large board."""
    low, first, median, third, high = (round(x(v), 1) for v in five)
    top, bottom = middle - 9, middle + 9
    parts = [
        f'<path d="M{low} {middle}H{high}" class="whisker"/>'
        f'<path d="M{first} {top}H{max(third, first + 1):.1f}V{bottom}H{first}Z" class="box"/>'
        f'<path d="M{median} {top}V{bottom}" class="median"/>'
    ]
    if len(values) <= _DOTS:
        rows = [f"{middle + place * 3:.0f}h0" for place in (-2, -1, 0, 1, 2)]
        dots = [f"M{x(v):.1f} {y}" for v, y in zip(values.tolist(), cycle(rows))]
        parts.append(f'<path d="{"".join(dots)}" class="dots"/>')
    return Markup("".join(parts))
