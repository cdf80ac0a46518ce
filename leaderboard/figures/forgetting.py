"""Gain on the targets against loss on the pretraining datasets, each method a point."""

from collections.abc import Sequence

from markupsafe import Markup

from bench.protocol import protocols
from leaderboard.figures import labels, palette, svg
from leaderboard.tables import text
from leaderboard.tables.forgetting import Trade


def scatter(trades: Sequence[Trade], protocol: str) -> Markup | None:
    """Paired differences to the untouched foundation; None where none is known."""
    known = [t for t in trades if protocol in t.gains]
    if not known:
        return None
    where = protocols.get(protocol).label.lower()
    panel = svg.Panel(
        width=1080,
        height=440,
        title=f"Gain {where} against loss on the pretraining datasets",
        description="Difference in MAE on [−1, 1] to the untouched foundation, lost and gained: "
        + "; ".join(
            f"{t.variant.label} {text.signed(t.loss.value, 3)} and "
            f"{text.signed(t.gains[protocol].value, 3)}"
            for t in known
        ),
        left=66,
        right=26,
        bottom=46,
    )
    x0, x1, y0, y1 = panel.area
    low, high = svg.around([0.0, *(v for t in known for v in (t.loss.low, t.loss.high))], pad=0.05)
    x = svg.linear(low, high, x0, x1)
    ends = [v for t in known for v in (t.gains[protocol].low, t.gains[protocol].high)]
    bottom, top = svg.around([0.0, *ends], pad=0.08)
    y = svg.linear(bottom, top, y0, y1)
    panel.axis_x(
        "lost on the pretraining datasets: rise of the MAE on [−1, 1]",
        x,
        svg.ticks(low, high, 8),
        grid=True,
    )
    panel.axis_y(f"gained {where}: fall of the MAE on [−1, 1]", y, svg.ticks(bottom, top, 6))
    panel.marks.append(svg.line(x0, y(0), x1, y(0), class_="zero"))
    panel.marks.append(svg.line(x(0), y0, x(0), y1, class_="zero"))
    taken = labels.marks((x(t.loss.value), y(t.gains[protocol].value)) for t in known)
    taken.append((x(0) + 9, x(0) + 140, y(0) - 5))
    panel.marks.append(svg.text(x(0) + 9, y(0) - 5, "untouched foundation", class_="tick"))
    panel.marks.extend(_mark(t, protocol, x, y, taken, x1) for t in known)
    return panel.render(kind="wide")


def _mark(
    trade: Trade,
    protocol: str,
    x: svg.Scale,
    y: svg.Scale,
    taken: list[labels.Box],
    end: float,
) -> Markup:
    loss, gain, variant = trade.loss, trade.gains[protocol], trade.variant
    px, py = x(loss.value), y(gain.value)
    tip = "\n".join(
        f"{word} {text.tip(e.value)} {text.tip_interval(e.low, e.high)}"
        for word, e in (("gained", gain), ("lost", loss))
    )
    return svg.tag(
        "g",
        svg.line(px, y(gain.low), px, y(gain.high), class_="err"),
        svg.line(x(loss.low), py, x(loss.high), py, class_="err"),
        svg.marker(
            px,
            py,
            variant.index,
            class_="dot",
            size=5.5,
            tabindex="0",
            data_tip=f"{variant.label}\n{tip}",
        ),
        labels.beside(variant.label, px, py, taken, end),
        class_=palette.classes(variant),
    )
