"""What limits training and scoring on this machine, in words."""

from collections.abc import Mapping, Sequence
from typing import Any

_NEAR = 0.5
"""Fraction of a ceiling from which on it is what limits."""
_ARITHMETIC = "Arithmetic limits"
_MEMORY = "Memory bandwidth limits"
_NEITHER = "Neither arithmetic nor memory bandwidth limits"


def sentences(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """One sentence for each limit: what meets it, and at which fractions of the two ceilings.

    `rows` are those of `bench speed --json`; rows without counted costs, and those of the reference
    loop, are left out. Bytes are counted as if no operations were fused and no cache helped, so
    that more than all of the bandwidth may come out.
    """
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if "matrix_ceiling_fraction" in row and not row["name"].startswith("reference"):
            found.setdefault(_limit(row), []).append(row)
    return [_sentence(limit, met) for limit, met in found.items()]


def _limit(row: Mapping[str, Any]) -> str:
    products, copies = row["matrix_ceiling_fraction"], row["memory_ceiling_fraction"]
    if max(products, copies) < _NEAR:
        return _NEITHER
    return _ARITHMETIC if products >= copies else _MEMORY


def _sentence(limit: str, rows: Sequence[Mapping[str, Any]]) -> str:
    names = ", ".join(row["name"] for row in rows)
    products = _range([row["matrix_ceiling_fraction"] for row in rows])
    copies = _range([row["memory_ceiling_fraction"] for row in rows])
    said = (
        f"{limit} {names}: {products} of the rate of a large matrix product, {copies} of that of a "
        "large copy."
    )
    if limit == _NEITHER:
        said += " Small operations and the time to start them are what is left."
    return said


def _range(fractions: Sequence[float]) -> str:
    low, high = (f"{100 * value:.0f}" for value in (min(fractions), max(fractions)))
    return f"{low} %" if low == high else f"{low} to {high} %"
