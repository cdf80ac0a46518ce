"""Evaluation of any weights file: a backbone's checkpoint, or a delta on one."""

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from bench.errors import ConfigError
from bench.models import backbones, delta
from bench.models.checkpoint import load_backbone_state
from bench.plugins import deltas
from bench.protocol.spec import TestSet
from bench.runner import evaluation
from bench.runner.context import RunContext
from bench.runner.data import check, make

Scores = dict[str, float | None]
"""Scores by metric; None where a metric is undefined for every sample."""


def network_of(delta_file: Path | None, asked: str | None, default: str) -> str:
    """The backbone to evaluate: the one that a delta was made for, else `asked`, else `default`.

    Raises `ConfigError` if another than the delta's is asked for, and `FoundationError` for a delta
    that cannot be read.
    """
    if delta_file is None:
        return asked or default
    made_for = delta.load(delta_file)[1].backbone
    if asked not in (None, made_for):
        raise ConfigError(
            f"--backbone {asked}: {delta_file} was made for {made_for}; leave the option out."
        )
    return made_for


def evaluate(
    weights: Path, delta_file: Path | None, tests: Sequence[TestSet], context: RunContext
) -> dict[TestSet, Scores]:
    """Scores of a network on test sets of the context's track; generated data are made if missing.

    Raises `FoundationError` for weights that cannot be loaded, `MethodError` for predictions that
    are not finite, `DataError` for files that are missing or wrong.
    """
    model = _network(weights, delta_file, context)
    names = tuple(dict.fromkeys(test.dataset for test in tests))
    if context.track.data.source == "generated":
        for name in names:
            make(name, context)
    check(names, context)
    fit = context.foundation_spec(0)
    scored = evaluation.scores_of(model, fit, tests, context)
    return {test: evaluation.aggregated(result) for test, result in scored}


def _network(weights: Path, delta_file: Path | None, context: RunContext) -> nn.Module:
    backbone = context.backbone.name
    if delta_file is not None:
        model = deltas.load(weights, delta_file).adapted.model
    else:
        model = backbones.restore(backbone, load_backbone_state(weights, backbone))
    context.numerics.place(model)
    return model
