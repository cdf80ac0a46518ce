"""The columns of the leaderboard, and the groups that can be switched on and off."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.protocol.columns import COUNTED
from bench.protocol.protocols import Protocol
from bench.seismic import metrics
from leaderboard.tables import data_fractions, text
from leaderboard.tables.boards import REFERENCE
from leaderboard.tables.overview import ranked

_FIRST_PROTOCOLS = ("id", "ood", data_fractions.LEAST)
_SHOWN = ("mae", "floor", "cost")
_FIRST_COSTS = ("trainable_parameters", "adapter_bytes", "saved_bytes_per_sample")
"""Costs that are shown at first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A column of the leaderboard."""

    key: str
    label: str
    group: str
    needs: str
    """Switches that must all be on."""
    first: str = "asc"
    """Direction of the first sort: best on top."""
    tip: str
    unit: str = ""
    """Of errors that can be switched to m/s."""


def groups() -> tuple[tuple[str, str], ...]:
    """Headings above the columns: key and label."""
    protocols = ((protocol.name, protocol.label) for protocol in ranked())
    return (*protocols, ("cost", "Cost"), ("origin", "Provenance"))


def switches() -> tuple[tuple[str, str], ...]:
    """Groups of columns that can be switched on and off: key and label."""
    return (
        *((protocol.name, protocol.label) for protocol in ranked()),
        *((metric.name, metric.label) for metric in metrics.METRICS),
        ("floor", "Ratio to floor"),
        ("chance", "Probability"),
        ("cost", "Cost"),
        ("more", "Optimiser, FLOPs"),
        ("origin", "Provenance"),
    )


def shown(views: Sequence[Protocol]) -> tuple[str, ...]:
    """Keys of the columns shown at first: of the paper's protocols, those with scores."""
    return (*(view.name for view in views if view.name in _FIRST_PROTOCOLS), *_SHOWN)


def heads() -> list[Head]:
    """All columns but the method's name, in order."""
    made = [head for view in ranked() for head in _of_view(view)]
    for column in COUNTED:
        made.append(
            Head(
                key=column.name,
                label=f"{column.label}\n{text.unit(column)}".strip(),
                group="cost",
                needs="cost" if column.name in _FIRST_COSTS else "more",
                first="asc" if column.better == "lower" else "desc",
                tip=column.description,
            )
        )
    origin = {"group": "origin", "needs": "origin"}
    made.append(Head(key="seeds", label="Seeds", first="desc", tip="Seeds with a fit", **origin))
    made.append(Head(key="badge", label="Record", tip="Where the records come from", **origin))
    return made


def _of_view(view: Protocol) -> list[Head]:
    name, where = view.name, view.label.lower()
    made = [
        Head(
            key=f"{name}-rank",
            label="Rank",
            group=name,
            needs=name,
            tip=f"Rank {where} by MAE; methods that the data cannot tell apart share it",
        )
    ]
    for metric in metrics.METRICS:
        label, up = metric.label, metric.better == "higher"
        shared = {"group": name, "needs": f"{name} {metric.name}"}
        made.append(
            Head(
                key=f"{name}-{metric.name}",
                label=f"{label} {'↑' if up else '↓'}",
                first="desc" if up else "asc",
                tip=f"{label} {where}: mean over cells and seeds, 95 % interval",
                unit=text.UNIT if text.switchable(metric.name) else "",
                **shared,
            )
        )
        made.append(
            Head(
                key=f"{name}-{metric.name}-gain",
                label="Gain %",
                first="desc",
                tip=f"{label} better than {REFERENCE}, in per cent, on the same samples",
                **shared,
            )
        )
    made.append(
        Head(
            key=f"{name}-floor",
            label="× floor",
            group=name,
            needs=f"{name} floor",
            tip=f"MAE {where} as a ratio to that of predicting the mean training map of the test "
            "dataset, mean over cells: above 1 the mean map is better",
        )
    )
    made.append(
        Head(
            key=f"{name}-better",
            label=f"P(> {REFERENCE})",
            group=name,
            needs=f"{name} chance",
            first="desc",
            tip=f"Probability that its MAE {where} is lower than that of {REFERENCE}",
        )
    )
    return made
