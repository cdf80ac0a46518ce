"""Numbers and facts as text for people."""

import math
import re
from collections.abc import Callable, Sequence
from itertools import chain
from shlex import quote
from typing import Any

from markupsafe import Markup

from bench.protocol.columns import COSTS, Column
from bench.seismic import metrics

METHOD_NAMES = {
    "none": "Untouched foundation",
    "baseline": "Training from scratch",
    "fft": "Full fine-tuning",
    "lora": "LoRA",
    "foundation": "Foundation",
}
"""Names for readers, of those whose short name says little: fft is a Fourier transform to many."""
UNIT = "[−1, 1]"
"""Unit of errors of velocity: the label is velocity from 1500 to 4500 m/s, scaled to it."""
NOTHING = "–"
"""Unknown."""


def column(name: str) -> Column:
    """The metric or cost of that name. Raises `KeyError` for an unknown one."""
    for known in chain(metrics.METRICS, COSTS):  # no table: this runs 100,000s of times
        if known.name == name:
            return known
    raise KeyError(name)


def label(name: str) -> str:
    """Label of a metric or cost."""
    return column(name).label


def arrow(name: str) -> str:
    """Arrow in the direction in which a metric is better."""
    return "↑" if column(name).better == "higher" else "↓"


def score(value: float | None, metric: str = "") -> str:
    """A score with the metric's number of decimals; the first metric's if none is named."""
    if value is None or not math.isfinite(value):
        return NOTHING
    digits = (metrics.get(metric) if metric else metrics.METRICS[0]).digits
    return f"{value:.{digits}f}"


def amount(value: float | None, metric: str = "") -> Markup:
    """A score for a page: where it is on [−1, 1], as an element that a reader can switch to m/s."""
    name = metric or metrics.METRICS[0].name
    shown = score(value, name)
    return Markup(shown) if value is None else _switched(value, shown, name)


def change(value: float, digits: int = 4, metric: str = "") -> Markup:
    """A difference of scores with its sign, as `amount`."""
    return _switched(value, signed(value, digits), metric or metrics.METRICS[0].name)


def error(value: float, digits: int) -> Markup:
    """An error or difference on [−1, 1] in a sentence, as `amount`."""
    shown = f"{value:.{digits}f}".replace("-", "−")
    return _switched(value, shown, metrics.METRICS[0].name)


def _switched(value: float, shown: str, metric: str) -> Markup:
    """The text of a number, which holds nothing to escape: pages have 100,000s of them."""
    if shown == NOTHING or not switchable(metric):
        return Markup(shown)
    return Markup(f'<data value="{value:.6g}">{shown}</data>')


def switchable(metric: str) -> bool:
    """Whether a metric is an error of velocity on [−1, 1], which is 1500 m/s a unit."""
    return column(metric).unit == UNIT


def tip(value: float, digits: int = 4) -> str:
    """A number on [−1, 1] in the text of a tooltip: braces, which the script takes away, mark it.

    Tooltips are shown by the script only, in the unit that the reader has chosen.
    """
    return f"{{{value:.{digits}f}}}"


def tip_interval(low: float, high: float, digits: int = 4) -> str:
    """An interval in a tooltip."""
    return f"({tip(low, digits)} to {tip(high, digits)})"


def signed(value: float | None, digits: int = 1) -> str:
    """A number with its sign, a true minus among them."""
    if value is None or not math.isfinite(value):
        return NOTHING
    shown = f"{value:+.{digits}f}".replace("-", "−")
    return shown[1:] if float(f"{value:.{digits}f}") == 0 else shown


def count(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,.0f}".replace(",", "\u202f")


def short(value: float | None) -> str:
    """A number with a magnitude suffix: 1148480 → 1.15 M."""
    if value is None:
        return NOTHING
    for limit, sign in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 0.9995 * limit:
            return f"{_three(value / limit)}\u00a0{sign}"
    return _three(value)


def size(value: float | None) -> str:
    """A number of bytes in binary units."""
    if value is None:
        return NOTHING
    for limit, sign in ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if abs(value) >= limit:
            return f"{_three(value / limit)}\u00a0{sign}"
    return f"{value:.0f}\u00a0B"


def _three(value: float) -> str:
    """Three significant digits, never as a power of ten."""
    return f"{value:.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return NOTHING
    if seconds < 60:
        return f"{seconds:.3g}\u00a0s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours}\u00a0h {minutes:02}\u00a0min" if hours else f"{minutes}\u00a0min {rest:02}\u00a0s"
    )


def cost(value: float | None, name: str) -> str:
    """A cost in the unit of its column."""
    if "bytes" in name:
        return size(value)
    if name == "train_seconds":
        return duration(value)
    if name == "samples_per_second":
        return NOTHING if value is None else f"{value:.3g}"
    return short(value)


def unit(column: Column) -> str:
    """Unit to show next to the label of a column; empty where `cost` writes it."""
    if column.unit in ("bytes", "s"):
        return ""
    return "per sample" if column.unit.endswith("/sample") else column.unit


def axis(column: Column) -> str:
    """Label and unit of a column for the axis of a figure."""
    if column.unit.startswith("["):  # a range, not a unit
        return f"{column.label} on {column.unit}"
    return f"{column.label} ({column.unit})" if column.unit else column.label


def dataset(name: str) -> str:
    """Label of a dataset for narrow figures: FlatVel_B → FlatVel-B."""
    return name.replace("_", "-")


def method(name: str) -> str:
    """Display name of a method, its short name beside it: ``Full fine-tuning (fft)``."""
    known = METHOD_NAMES.get(name, name)
    return known if known.lower() == name.lower() else f"{known} ({name})"


def sourced(source: str) -> Markup:
    """A source as escaped text, its arXiv numbers as links."""
    parts = re.split(r"(arXiv:\d{4}\.\d{4,5})", source)
    return Markup().join(
        Markup('<a href="https://arxiv.org/abs/{}" rel="noopener">{}</a>').format(part[6:], part)
        if place % 2
        else part
        for place, part in enumerate(parts)
    )


def papers(source: str) -> list[tuple[str, str]]:
    """Each arXiv number of a source with the words before it."""
    return [
        (number, words.strip(" ,;"))
        for words, number in re.findall(r"([^;]*?)arXiv:(\d{4}\.\d{4,5})", source)
    ]


def p_value(value: float) -> str:
    """A p-value, never as a power of ten."""
    return "< 0.001" if value < 0.001 else "> 0.99" if value > 0.99 else f"{value:.3f}"


def config(values: dict[str, Any]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in sorted(values.items())) or "no options"


def command(words: Sequence[str]) -> str:
    """A command line as typed in a shell."""
    return " ".join(quote(word) for word in words)


def pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of key and label for a choice whose keys are their own labels."""
    return [(name, name) for name in names]


FILTERS: dict[str, Callable[..., Any]] = {
    "pairs": pairs,
    "score": score,
    "amount": amount,
    "change": change,
    "tip": tip,
    "label": label,
    "arrow": arrow,
    "signed": signed,
    "count": count,
    "short": short,
    "size": size,
    "duration": duration,
    "cost": cost,
    "unit": unit,
    "dataset": dataset,
    "config": config,
    "command": command,
    "method": method,
    "p_value": p_value,
    "sourced": sourced,
}
