"""Hardware-independent costs of a fit: of a training step, of what is trained and saved."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from bench.contract import Method
from bench.models.checkpoint import content_hash
from bench.plugins import adaptation
from bench.plugins.adaptation import Checked
from bench.protocol import survey
from bench.protocol.spec import FitSpec
from bench.records.record import Counts
from bench.runner.context import RunContext
from bench.training import probe


def step_cost(
    spec: FitSpec, method: Method, adapted: Checked, context: RunContext
) -> probe.StepCost:
    """Cost of a training step; the same for all fits of a config, so measured once.

    Moves BatchNorm statistics. Raises `MethodError` for a network that predicts a wrong shape or
    NaN.
    """
    costs, numerics = context.step_costs, context.numerics
    key = spec.method.model_dump_json()
    if key not in costs:
        records = torch.zeros((2, *survey.RECORD_SHAPE), device=numerics.device)
        adaptation.check_output(method, adapted.model, records)
        adaptation.training_mode(adapted.model, method.traits.batchnorm)
        costs[key] = probe.step_cost(adapted.model, numerics)
    return costs[key]


def counts(
    adapted: Checked,
    adam: torch.optim.Optimizer | None,
    cost: probe.StepCost,
    *,
    changed: Mapping[str, Tensor],
    saved: Mapping[str, Tensor],
    path: Path,
) -> Counts:
    """Counts of a trained network: `changed` are the tensors that differ from its start, `saved`
    those in the file at `path`."""
    parameters = {name for name, _ in adapted.model.named_parameters()}
    return Counts(
        trainable_parameters=sum(p.numel() for g in adapted.groups for p in g.parameters),
        total_parameters=sum(p.numel() for p in adapted.model.parameters()),
        optimiser_bytes=probe.optimiser_bytes(adam),
        saved_bytes_per_sample=cost.saved_bytes_per_sample,
        flops_per_sample=cost.flops_per_sample,
        changed_buffers=sum(name not in parameters for name in changed),
        adapter_bytes=path.stat().st_size,
        adapter_sha256=content_hash(saved),
    )
