"""The columns of the leaderboard, and the groups that can be switched on and off."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.protocol.columns import COSTS
from leaderboard import text
from leaderboard.boards import OPPONENT
from leaderboard.standings import METRICS, better
from leaderboard.views import RANKED, View

GROUPS: Final = (
    *((view.name, view.label) for view in RANKED),
    ("cost", "Cost"),
    ("origin", "Provenance"),
)
"""Headings above the columns."""
SWITCHES: Final = (
    *((view.name, view.label) for view in RANKED),
    *((metric, text.LABELS[metric]) for metric in METRICS),
    ("chance", "Probability"),
    ("cost", "Cost"),
    ("more", "More cost"),
    ("origin", "Provenance"),
)
_SHOWN = ("mae", "cost")
_FIRST_COSTS = ("trainable_parameters", "adapter_bytes", "peak_bytes", "samples_per_second")


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


def shown(views: Sequence[View]) -> tuple[str, ...]:
    """Switched on at first: of the protocols, those in which a method has scores."""
    return (*(view.name for view in views), *_SHOWN)


def heads() -> list[Head]:
    """All columns but the method's name, in order."""
    made = [head for view in RANKED for head in _of_view(view)]
    for column in COSTS:
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


def _of_view(view: View) -> list[Head]:
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
    for metric in METRICS:
        label, up = text.LABELS[metric], better(metric) == "higher"
        shared = {"group": name, "needs": f"{name} {metric}"}
        made.append(
            Head(
                key=f"{name}-{metric}",
                label=f"{label} {'↑' if up else '↓'}",
                first="desc" if up else "asc",
                tip=f"{label} {where}: mean over cells and seeds, 95 % interval",
                **shared,
            )
        )
        made.append(
            Head(
                key=f"{name}-{metric}-gain",
                label="Gain %",
                first="desc",
                tip=f"{label} better than {OPPONENT}, in per cent, on the same samples",
                **shared,
            )
        )
    made.append(
        Head(
            key=f"{name}-better",
            label=f"P(> {OPPONENT})",
            group=name,
            needs=f"{name} chance",
            first="desc",
            tip=f"Probability that its MAE {where} is lower than that of {OPPONENT}",
        )
    )
    return made
