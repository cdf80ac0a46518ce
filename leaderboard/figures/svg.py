"""Figures by hand: SVG elements, scales and axes. Colours come from the style sheet by class."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

from markupsafe import Markup, escape

Scale = Callable[[float], float]
"""Data value → pixel."""

SHAPES = ("circle", "square", "triangle", "diamond", "wedge", "cross", "star", "hexagon")
"""A second sign beside colour: methods stay apart in grey and for colour-blind readers."""
_POINTS = {
    "square": ((-1, -1), (1, -1), (1, 1), (-1, 1)),
    "triangle": ((0, -1.25), (1.15, 0.85), (-1.15, 0.85)),
    "diamond": ((0, -1.35), (1.2, 0), (0, 1.35), (-1.2, 0)),
    "wedge": ((0, 1.25), (1.15, -0.85), (-1.15, -0.85)),
    "cross": (
        (-0.4, -1.2),
        (0.4, -1.2),
        (0.4, -0.4),
        (1.2, -0.4),
        (1.2, 0.4),
        (0.4, 0.4),
        (0.4, 1.2),
        (-0.4, 1.2),
        (-0.4, 0.4),
        (-1.2, 0.4),
        (-1.2, -0.4),
        (-0.4, -0.4),
    ),
    "star": tuple(
        (r * math.sin(i * math.pi / 5), -r * math.cos(i * math.pi / 5))
        for i, r in enumerate((1.45, 0.62) * 5)
    ),
    "hexagon": tuple(
        (1.2 * math.cos(i * math.pi / 3), 1.2 * math.sin(i * math.pi / 3)) for i in range(6)
    ),
}


def tag(name: str, *children: str, **attributes: object) -> Markup:
    """One element. ``class_`` is class, ``data_tip`` is data-tip; None leaves an attribute out."""
    words = [name]
    for key, value in attributes.items():
        if value is not None:
            words.append(f'{_attribute(key)}="{_value(value)}"')
    inside = "".join([c if isinstance(c, Markup) else escape(c) for c in children])
    return Markup(f"<{' '.join(words)}>{inside}</{name}>")


@cache
def _attribute(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def _value(value: object) -> str:
    """Numbers need no escaping, and there are very many of them."""
    if isinstance(value, float):
        shown = f"{value:.2f}"
        return shown[:-3] if shown.endswith(".00") else shown
    return str(value) if isinstance(value, int) else escape(value)


def text(x: float, y: float, content: str, **attributes: object) -> Markup:
    return tag("text", content, x=x, y=y, **attributes)


def line(x1: float, y1: float, x2: float, y2: float, **attributes: object) -> Markup:
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, **attributes)


def path(points: Iterable[tuple[float, float]], **attributes: object) -> Markup:
    """A polyline."""
    return tag("polyline", points=_join(points), **attributes)


def area(points: Iterable[tuple[float, float]], **attributes: object) -> Markup:
    return tag("polygon", points=_join(points), **attributes)


def marker(x: float, y: float, index: int, *, size: float = 4.5, **attributes: object) -> Markup:
    """The marker of the method with that index."""
    shape = SHAPES[index % len(SHAPES)]
    if shape == "circle":
        return tag("circle", cx=x, cy=y, r=size, **attributes)
    return area(((x + size * px, y + size * py) for px, py in _POINTS[shape]), **attributes)


def linear(low: float, high: float, start: float, end: float) -> Scale:
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def logarithmic(low: float, high: float, start: float, end: float) -> Scale:
    inner = linear(math.log10(low), math.log10(high), start, end)
    return lambda value: inner(math.log10(value))


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round values within [low, high], about `count` of them."""
    span = high - low
    if not math.isfinite(span) or span <= 0:
        return [low]
    raw = span / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def labels(values: Sequence[float]) -> list[str]:
    """Ticks in words, all with the decimals that the finest of them needs."""
    decimals = max((len(f"{v:.10f}".rstrip("0").split(".")[1]) for v in values), default=0)
    return [f"{v:.{decimals}f}".replace("-", "−") for v in values]


def decades(low: float, high: float) -> list[float]:
    """Powers of ten within [low, high]; with 2 and 5 between them if there are few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    tens = [10.0**p for p in range(first, last + 1) if low <= 10.0**p <= high]
    if len(tens) >= 3:
        return tens
    fine = [m * 10.0**p for p in range(first, last + 1) for m in (1, 2, 5)]
    return [v for v in fine if low <= v <= high]


def around(
    values: Iterable[float], *, zero: bool = False, pad: float = 0.08
) -> tuple[float, float]:
    """A range with room around the values."""
    known = [v for v in values if math.isfinite(v)] or [0.0, 1.0]
    low, high = min(known), max(known)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    margin = (high - low) * pad or abs(high) * pad or 1.0
    return (
        low if zero and low == 0 else low - margin,
        high if zero and high == 0 else high + margin,
    )


@dataclass
class Panel:
    """A plot with axes; draw into `marks` with the scales `x` and `y`."""

    width: float
    height: float
    title: str
    description: str
    """Text alternative: what the figure shows, for whoever cannot see it."""
    left: float = 48
    right: float = 12
    top: float = 14
    bottom: float = 40
    marks: list[Markup] = field(default_factory=list)

    @property
    def area(self) -> tuple[float, float, float, float]:
        """x from, x to, y from (bottom), y to (top), in pixels."""
        return self.left, self.width - self.right, self.height - self.bottom, self.top

    def axis_x(
        self,
        label: str,
        scale: Scale,
        places: Sequence[float],
        names: Sequence[str] | None = None,
        *,
        grid: bool = False,
    ) -> None:
        """Ticks at these values, named by `names` or by themselves."""
        x0, x1, y0, y1 = self.area
        unit = _marks(label)
        parts = [
            (f'<path d="M{x:.1f} {y0:g}V{y1:g}" class="grid"/>' if grid else "")
            + f'<text x="{x:.1f}" y="{y0 + 16:g}" class="tick middle"{unit[0]}>{name}</text>'
            for x, name in zip(map(scale, places), _names(places, names), strict=True)
        ]
        parts.append(f'<path d="M{x0:g} {y0:g}H{x1:g}" class="axis"/>')
        parts.append(
            f'<text x="{(x0 + x1) / 2:g}" y="{self.height - 5:g}" class="label middle"{unit[1]}>'
            f"{escape(label)}</text>"
        )
        self.marks.append(Markup("".join(parts)))

    def axis_y(
        self, label: str, scale: Scale, places: Sequence[float], names: Sequence[str] | None = None
    ) -> None:
        """Lines at these values, named by `names` or by themselves."""
        x0, x1, y0, y1 = self.area
        unit = _marks(label)
        parts = [
            f'<path d="M{x0:g} {y:.1f}H{x1:g}" class="grid"/>'
            f'<text x="{x0 - 6:g}" y="{y + 3.5:.1f}" class="tick end"{unit[0]}>{name}</text>'
            for y, name in zip(map(scale, places), _names(places, names), strict=True)
        ]
        middle = (y0 + y1) / 2
        parts.append(
            f'<text x="11" y="{middle:g}" class="label middle"{unit[1]} '
            f'transform="rotate(-90 11 {middle:g})">{escape(label)}</text>'
        )
        self.marks.append(Markup("".join(parts)))

    def render(self, *, kind: Literal["panel", "wide", "heat", "small"] = "panel") -> Markup:
        """`kind` decides what a narrow screen does with it; ``small`` fits as it is."""
        return tag(
            "svg",
            tag("title", self.title),
            tag("desc", self.description),
            *self.marks,
            class_=f"plot {kind}",
            viewBox=f"0 0 {self.width:g} {self.height:g}",
            width=f"{self.width:g}",
            height=f"{self.height:g}",
            role="img",
            aria_label=f"{self.title}. {self.description}",
        )


def _marks(label: str) -> tuple[str, str]:
    """Attributes of the ticks and the label of an axis on [−1, 1], which can be switched to m/s."""
    return (" data-mae", " data-unit") if "[−1, 1]" in label else ("", "")


def _names(places: Sequence[float], names: Sequence[str] | None) -> Sequence[str]:
    """Escaped, which numbers need not be."""
    return [escape(name) for name in names] if names else labels(places)


def _join(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
