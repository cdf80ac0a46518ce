"""The training loop."""

import time
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from bench.contract import Adapted, BatchNorm
from bench.plugins.adaptation import training_mode
from bench.protocol.spec import RULES
from bench.records.record import Epoch
from bench.training.numerics import Numerics
from bench.training.schedule import factor

Batches = Callable[[int], Iterable[tuple[Tensor, Tensor]]]
"""epoch → pairs of scaled records (b, 5, 1000, 70) and scaled maps (b, 1, 70, 70)."""


class DivergedError(RuntimeError):
    """The training loss is not a finite number."""


def optimiser(adapted: Adapted, learning_rate_scale: float) -> torch.optim.AdamW | None:
    """AdamW over the method's groups; None for a method without trainable parameters."""
    groups = [
        {
            "params": list(group.parameters),
            "weight_decay": group.weight_decay,
            "scale": group.learning_rate_scale * learning_rate_scale,
            "lr": 0.0,
        }
        for group in adapted.groups
    ]
    if not groups:
        return None
    return torch.optim.AdamW(groups, betas=RULES.betas, fused=True)


def fit(
    adapted: Adapted,
    adam: torch.optim.AdamW | None,
    batches: Batches,
    *,
    batchnorm: BatchNorm,
    epochs: range,
    total_epochs: int,
    steps_per_epoch: int,
    numerics: Numerics,
) -> Iterator[Epoch]:
    """Train for the given epochs (of `total_epochs`), yielding each one as it ends.

    Raises `DivergedError` when an epoch's loss is NaN or infinite.
    """
    model, total = adapted.model, total_epochs * steps_per_epoch
    for epoch in epochs:
        start = time.perf_counter()
        activate(adapted, epoch / total_epochs)
        training_mode(model, batchnorm)
        rate = 0.0
        losses, samples = torch.zeros((), device=numerics.device), 0
        with numerics.lean(model):
            for step, (x, y) in enumerate(batches(epoch), start=epoch * steps_per_epoch):
                rate = RULES.peak_learning_rate * factor(step, total)
                loss = train_step(adapted, adam, x, y, rate=rate, numerics=numerics)
                losses += loss * len(x)
                samples += len(x)
        mean = float(losses) / samples
        if not torch.isfinite(losses):
            raise DivergedError(f"The training loss became {mean} in epoch {epoch}.")
        yield Epoch(epoch=epoch, loss=mean, learning_rate=rate, seconds=time.perf_counter() - start)


def train_step(
    adapted: Adapted,
    adam: torch.optim.AdamW | None,
    x: Tensor,
    y: Tensor,
    *,
    rate: float,
    numerics: Numerics,
) -> Tensor:
    """One step: forward, loss, backward, update. Returns the detached L1 loss, not synchronised."""
    if adam is None:  # only BatchNorm statistics change
        with torch.no_grad():
            return l1(adapted.model, x, y, numerics)
    for group in adam.param_groups:
        group["lr"] = rate * group["scale"]
    loss = l1(adapted.model, x, y, numerics)
    objective = loss if adapted.penalty is None else loss + adapted.penalty()
    adam.zero_grad(set_to_none=True)
    if objective.requires_grad:  # there may be no group that trains at the moment
        objective.backward()
        adam.step()
        if adapted.after_step is not None:
            adapted.after_step()
    return loss.detach()


def l1(model: nn.Module, x: Tensor, y: Tensor, numerics: Numerics) -> Tensor:
    """Mean absolute error on [-1, 1]; the network in autocast, the loss in float32."""
    dtype = torch.bfloat16 if numerics.bfloat16 else torch.float32
    with numerics.autocast():
        prediction: Tensor = model(x.to(dtype))
    return (prediction.float() - y).abs().mean()


def activate(adapted: Adapted, progress: float) -> None:
    """Let each group train only in its part of training; `progress` in [0, 1)."""
    for group in adapted.groups:
        begin, end = group.active
        for parameter in group.parameters:
            parameter.requires_grad_(begin <= progress < end)
            parameter.grad = None
