"""WiSE-FT: full fine-tuning, then weights between the foundation and the fine-tuned network.

Wortsman et al. 2021, Robust Fine-Tuning of Zero-Shot Models, arXiv:2109.01903. The coefficient c
of (1 − c) · foundation + c · fine-tuned is chosen from a grid (0, 0.1 … 1, as in the paper's
figures) by the MAE on a validation part that is kept out of training; the whole sweep is reported.
Of equal ones the smallest coefficient wins.

BatchNorm statistics are not interpolated: the harness recomputes them over the training subset at
each coefficient, as it does for every method after training.
"""

import math
from collections.abc import Callable
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn

from bench.contract import Adapted, Config, Method, Traits
from methods._surgery import Anchors, everything


class WiseConfig(Config):
    """Resolution of the search for the interpolation coefficient."""

    steps: Annotated[int, Field(ge=1, le=100)] = 10
    """Steps of the grid from 0 (foundation) to 1 (fine-tuned)."""


def adapt(model: nn.Module, config: WiseConfig) -> Adapted:
    """Train every parameter; afterwards choose the point on the way."""
    group = everything(model)
    foundation = Anchors(group.parameters)

    def finish(validate: Callable[[], float]) -> dict[str, Any]:
        tuned = Anchors(group.parameters)

        def move(coefficient: float) -> None:
            ends = zip(group.parameters, foundation.values(), tuned.values(), strict=True)
            with torch.no_grad():
                for tensor, start, end in ends:
                    tensor.copy_(torch.lerp(start, end, coefficient))

        sweep = []
        for step in range(config.steps + 1):
            coefficient = step / config.steps
            move(coefficient)
            sweep.append({"coefficient": coefficient, "validation_mae": validate()})
        scored = [point for point in sweep if math.isfinite(point["validation_mae"])]
        best = min(scored or sweep[-1:], key=lambda point: point["validation_mae"])
        move(best["coefficient"])
        return {"coefficient": best["coefficient"], "sweep": sweep}

    return Adapted(model=model, groups=(group,), merge=lambda: model, finish=finish)


method = Method(
    name="wise",
    summary="Weights between foundation and full fine-tuning, chosen on a validation part.",
    source="Wortsman et al. 2021, WiSE-FT, arXiv:2109.01903",
    traits=Traits(category="full", batchnorm="both", mergeable=True, holdout=True),
    config=WiseConfig,
    version=2,
    adapt=adapt,
)
