"""Order of methods by backbone: places, the ranks that the data allow, and lines between them."""

from markupsafe import Markup

from leaderboard.figures import palette, svg
from leaderboard.tables import text
from leaderboard.tables.backbones import Order, Orders
from leaderboard.tables.variants import Variant

_ROW = 42.0
_COLUMN = 260.0
_NAMES = 190.0


def bumps(orders: Orders) -> Markup:
    """A column for each backbone, best on top; bars: the ranks that the data allow."""
    count, columns = len(orders.variants), orders.columns
    panel = svg.Panel(
        width=max(760.0, 2 * _NAMES + _COLUMN * (len(columns) - 1) + 100),
        height=64 + _ROW * count,
        title=f"Order of methods by backbone, {orders.protocol.label.lower()}",
        description="; ".join(f"{c.name}: {_listed(c, orders)}" for c in columns),
        left=_NAMES,
        right=_NAMES,
        top=40,
        bottom=24,
    )
    x0, x1, y0, y1 = panel.area
    x = svg.linear(0, len(columns) - 1, x0 + 30, x1 - 30)
    y = svg.linear(1, count, y1 + 20, y0 - 14)
    for i, column in enumerate(columns):
        panel.marks.append(svg.text(x(i), 13, column.name, class_="head middle"))
        seeds = f"{column.seeds} {'seed' if column.seeds == 1 else 'seeds'}"
        panel.marks.append(svg.text(x(i), 32, seeds, class_="tick middle"))
    for place in range(1, count + 1):
        panel.marks.append(svg.line(x0, y(place), x1, y(place), class_="grid"))
    for variant in orders.variants:
        panel.marks.append(_line(orders, variant, x, y))
    return panel.render(kind="wide")


def _listed(column: Order, orders: Orders) -> str:
    labels = {v.key: v.label for v in orders.variants}
    return ", ".join(
        f"{labels[key]} (rank {_span(r.rank, r.worst_rank)})" for key, r in column.ranked.items()
    )


def _span(best: int, worst: int) -> str:
    return str(best) if best == worst else f"{best} to {worst}"


def _line(orders: Orders, variant: Variant, x: svg.Scale, y: svg.Scale) -> Markup:
    """Bars of ranks stand side by side within a column, in the order of places."""
    points, marks = [], []
    count, last = len(orders.variants), len(orders.columns) - 1
    for i, column in enumerate(orders.columns):
        ranked, place = column.ranked[variant.key], column.place(variant.key)
        px = x(i) + (place - (count + 1) / 2) * min(7.0, 50 / count)
        py = y(place)
        points.append((px, py))
        score = ranked.score
        tip = (
            f"{variant.label}, {column.name}\nrank {_span(ranked.rank, ranked.worst_rank)}\n"
            f"MAE {text.tip(score.value)} {text.tip_interval(score.low, score.high)}"
        )
        ends = y(ranked.rank) - 9, y(ranked.worst_rank) + 9
        marks.append(svg.line(px, ends[0], px, ends[1], class_="ranks"))
        marks.append(svg.marker(px, py, variant.index, class_="dot", tabindex="0", data_tip=tip))
        if i == 0:
            marks.append(svg.text(x(0) - 44, py + 4, variant.label, class_="who end"))
        if i == last:
            marks.append(svg.text(x(i) + 44, py + 4, variant.label, class_="who"))
    return svg.tag("g", svg.path(points, class_="series"), *marks, class_=palette.classes(variant))
