"""Methods as they ran: told apart by config, package and version, each with its own label."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from leaderboard.load.results import FOUNDATION, config
from leaderboard.tables import text

_USUAL = {"learning_rate_scale": 1.0}
"""Defaults of the options that all methods have. Of a method's own options no record says which
value is the default."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A method as it ran: one name, package, version and config."""

    key: str
    label: str
    index: int
    """Its colour and sign, the same on all boards and pages of a site."""
    name: str
    distribution: str
    version: int
    config: dict[str, Any]
    release: str | None
    code: str | None
    category: str
    summary: str
    source: str
    start: str

    @property
    def title(self) -> str:
        """Display name, the short name and what sets this config apart beside it."""
        return text.method(self.name) + self.label.removeprefix(self.name)


def ranked(found: Iterable[Variant]) -> list[Variant]:
    """Those that are ranked: of a method at several learning rates the usual one.

    Others were tried after it or tuned; they answer another question, and would make every
    correction for many comparisons harsher.
    """
    found = list(found)
    usual = {v.name for v in found if _at_usual_rate(v)}
    return [v for v in found if _at_usual_rate(v) or v.name not in usual]


def _at_usual_rate(variant: Variant) -> bool:
    return all(variant.config.get(key, value) == value for key, value in _USUAL.items())


def of_fits(
    fits: pl.DataFrame, labels: Mapping[str, str], order: Mapping[str, int]
) -> tuple[Variant, ...]:
    """The methods of these fits by label; `labels` and `order` (colour and sign) are by key."""
    own = fits.filter(pl.col("kind") == "adaptation", ~pl.col("holdout")).sort("run_id")
    firsts = own.unique("variant", keep="first", maintain_order=True).iter_rows(named=True)
    made = [_variant(row, labels[row["variant"]], order[row["variant"]]) for row in firsts]
    return tuple(sorted(made, key=lambda v: (v.label.lower(), v.key)))


def foundation(fits: pl.DataFrame, index: int) -> Variant | None:
    """The foundations among these fits as one method; None where none is finished."""
    done = fits.filter(pl.col("kind") == "pretraining", pl.col("status") == "done")
    if done.is_empty():
        return None
    return _variant(done.row(0, named=True), FOUNDATION, index)


def _variant(row: dict[str, Any], label: str, index: int) -> Variant:
    return Variant(
        key=row["variant"],
        label=label,
        index=index,
        name=row["method"],
        distribution=row["distribution"],
        version=row["version"],
        config=config(row),
        release=row["release"],
        code=row["code"],
        category=row["category"],
        summary=row["summary"],
        source=row["source"],
        start=row["start"],
    )


def labels(fits: pl.DataFrame) -> dict[str, str]:
    """By key: the method's name, with what sets it apart from others of that name.

    The usual learning rate is not said: what is called ``fft`` stays so beside a tuned one.
    """
    own = fits.filter(pl.col("kind") == "adaptation", ~pl.col("holdout"))
    kinds: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in own.unique("variant", keep="first", maintain_order=True).iter_rows(named=True):
        kinds[row["method"]].append(row)
    return {
        row["variant"]: " ".join((name, *_marks(row, rivals)))
        for name, rivals in kinds.items()
        for row in rivals
    }


def _marks(row: dict[str, Any], rivals: Sequence[dict[str, Any]]) -> list[str]:
    if len(rivals) == 1:
        return []
    configs = [config(rival) for rival in rivals]
    own = config(row)
    options = sorted({key for c in configs for key in c})
    marks = [
        f"{key}={own[key]}"
        for key in options
        if own.get(key) not in (None, _USUAL.get(key))
        and len({repr(c.get(key)) for c in configs}) > 1
    ]
    for word in ("distribution", "version"):
        if len({rival[word] for rival in rivals}) > 1:
            marks.append(f"{word} {row[word]}")
    return marks
