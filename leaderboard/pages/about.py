"""The protocol, as the specification has it, and how to take part."""

from collections.abc import Sequence

from pydantic import BaseModel

from bench.protocol.columns import COSTS, SCORES
from bench.protocol.spec import PERCENTS, PRETRAINING, RULES, TARGETS
from leaderboard.boards import OPPONENT, Board
from leaderboard.site import Site
from leaderboard.views import VIEWS

_SENTENCES = {
    "version": "Version of the protocol",
    "record_scale": "Records: sign(a)·log1p(|a|), where minus and plus these become −1 and 1",
    "velocity_scale_mps": "Velocities (m/s) that become −1 and 1",
    "loss": "Loss, on [−1, 1]",
    "optimiser": "Optimiser",
    "betas": "Its momentum terms",
    "pretraining_weight_decay": "Weight decay of pretraining",
    "peak_learning_rate": "Peak learning rate",
    "warmup": "Part of training with a rising learning rate",
    "warmup_start": "Learning rate at the first step, as a factor of the peak",
    "milestones": "Parts of training after which the learning rate falls",
    "decay": "Factor at each of them",
    "validation_percent": "Validation part, held out of the training split (%)",
    "metrics_version": "Version of the metrics",
    "ssim_window": "SSIM: Gaussian window (cells)",
    "ssim_sigma": "SSIM: its standard deviation (cells)",
    "edge_threshold_mps": "Edge F1: velocity change from which a cell is an interface (m/s)",
    "edge_tolerance_cells": "Edge F1: tolerance (cells)",
}


def write(site: Site, boards: Sequence[Board]) -> None:
    """The pages on the protocol and on contributing; they need no record."""
    site.page(
        "protocol.html",
        "protocol",
        rules=_facts(boards[0].rules if boards else RULES, _SENTENCES),
        boards=[
            (b, _facts(b.track.data), _facts(b.track.pretrain), _facts(b.track.fit)) for b in boards
        ],
        views=list(VIEWS.values()),
        scores=SCORES,
        costs=COSTS,
        pretraining=PRETRAINING,
        targets=TARGETS,
        percents=PERCENTS,
        opponent=OPPONENT,
    )
    site.page("contribute.html", "contribute")


def _facts(model: BaseModel, names: dict[str, str] | None = None) -> list[tuple[str, str]]:
    """Every field of a specification, in its order."""
    named = names or {}
    return [
        (named.get(key, key.replace("_", " ")), _value(value))
        for key, value in model.model_dump().items()
    ]


def _value(value: object) -> str:
    if value is None:
        return "official split"
    if isinstance(value, tuple | list):
        return ", ".join(_value(v) for v in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
