"""The training loop."""

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import takewhile

import torch
from torch import Tensor

from bench.contract import Adapted, BatchNorm
from bench.plugins.adaptation import training_mode
from bench.protocol.spec import RULES
from bench.records.record import Epoch
from bench.training.boundary import Forward
from bench.training.capture import CapturedSteps, Step
from bench.training.numerics import Numerics
from bench.training.prefix import FrozenPrefix
from bench.training.schedule import factor

Batches = Callable[[int], Iterable[tuple[Tensor, Tensor]]]
"""epoch → pairs of scaled records (b, 5, 1000, 70) and scaled maps (b, 1, 70, 70); activations
may stand for the records, see `bench.training.prefix`."""


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
    gpu = any(p.is_cuda for group in adapted.groups for p in group.parameters)
    adam = torch.optim.AdamW(groups, betas=RULES.betas, fused=True, capturable=gpu)
    if gpu:  # a captured step reads the rate from memory
        for group in adam.param_groups:
            group["lr"] = torch.zeros((), device=group["params"][0].device)
    return adam


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
    prefix: FrozenPrefix | None = None,
) -> Iterator[Epoch]:
    """Train for the given epochs (of `total_epochs`), yielding each one as it ends.

    `prefix`: where `batches` come from, if activations of frozen layers are to be reused.

    Raises `DivergedError` when an epoch's loss is NaN or infinite.
    """
    model, total = adapted.model, total_epochs * steps_per_epoch
    trained: tuple[bool, ...] | None = None
    with numerics.frugal_pass(model):
        for epoch in epochs:
            start = time.perf_counter()
            activate(adapted, epoch / total_epochs)
            training_mode(model, batchnorm)
            if trained != (trained := _trained(adapted)):
                step = step_function(adapted, adam, numerics, prefix)
                if prefix is not None:
                    prefix.begin(_stage(adapted, range(epoch, epochs.stop), total_epochs))
            rate = 0.0
            losses, samples = torch.zeros((), device=numerics.device), 0
            for number, (x, y) in enumerate(batches(epoch), start=epoch * steps_per_epoch):
                rate = RULES.peak_learning_rate * factor(number, total)
                set_rate(adam, rate)
                losses += step(x, y) * len(x)
                samples += len(x)
            mean = float(losses) / samples
            if not torch.isfinite(losses):
                raise DivergedError(f"The training loss became {mean} in epoch {epoch}.")
            seconds = time.perf_counter() - start
            yield Epoch(epoch=epoch, loss=mean, learning_rate=rate, seconds=seconds)
    if prefix is not None:
        prefix.release()


def _stage(adapted: Adapted, epochs: range, total_epochs: int) -> int:
    """Number of these epochs in which the same groups train as in the first one."""

    def active(epoch: int) -> list[bool]:
        spans = [group.active for group in adapted.groups]
        return [begin <= epoch / total_epochs < end for begin, end in spans]

    return sum(1 for _ in takewhile(lambda epoch: active(epoch) == active(epochs[0]), epochs))


def _trained(adapted: Adapted) -> tuple[bool, ...]:
    """Which groups are trained at the moment."""
    return tuple(p.requires_grad for group in adapted.groups for p in group.parameters[:1])


def step_function(
    adapted: Adapted,
    adam: torch.optim.AdamW | None,
    numerics: Numerics,
    prefix: FrozenPrefix | None = None,
) -> Step:
    """`training_step` as a function of the batch; captured on a GPU, unless the method's own Python
    code has a part in it.

    Valid until other parameters are trained or the layers take another form
    (`Numerics.frugal_pass`).
    """
    forward = None if prefix is None else prefix.forward
    step = partial(training_step, adapted, adam, numerics=numerics, forward=forward)
    own_code = adapted.penalty is not None or adapted.after_step is not None
    if numerics.device.type == "cuda" and adam is not None and not own_code:
        return CapturedSteps(step, prefix)
    return step


def set_rate(adam: torch.optim.AdamW | None, rate: float) -> None:
    """Set the learning rate of every group: `rate` times the group's scale."""
    for group in adam.param_groups if adam is not None else ():
        value = rate * group["scale"]
        if isinstance(group["lr"], Tensor):
            if group["lr"].device != group["params"][0].device:  # as a checkpoint gives it back
                group["lr"] = group["lr"].to(group["params"][0].device)
            group["lr"].fill_(value)
        else:
            group["lr"] = value


def training_step(
    adapted: Adapted,
    adam: torch.optim.AdamW | None,
    x: Tensor,
    y: Tensor,
    *,
    numerics: Numerics,
    forward: Forward | None = None,
) -> Tensor:
    """Forward, loss, backward and update. Returns the detached L1 loss, not synchronised.

    `forward` stands for the network where x may be activations (`FrozenPrefix.forward`).
    """
    with torch.set_grad_enabled(adam is not None):
        if forward is None:  # no name holds the converted records: they may be freed here
            loss = l1(adapted.model, x.to(numerics.dtype), y, numerics)
        else:
            loss = l1(forward, x, y, numerics)
    if adam is None:  # only BatchNorm statistics change
        return loss
    objective = loss if adapted.penalty is None else loss + adapted.penalty()
    adam.zero_grad(set_to_none=True)
    if objective.requires_grad:  # there may be no group that trains at the moment
        objective.backward()
        adam.step()
        if adapted.after_step is not None:
            adapted.after_step()
    return loss.detach()


def l1(network: Forward, x: Tensor, y: Tensor, numerics: Numerics) -> Tensor:
    """Mean absolute error on [-1, 1]; the network in autocast, the loss in float32."""
    with numerics.autocast():
        prediction = network(x)
    return (prediction.float() - y).abs().mean()


def activate(adapted: Adapted, progress: float) -> None:
    """Let each group train only in its part of training; `progress` in [0, 1)."""
    for group in adapted.groups:
        begin, end = group.active
        for parameter in group.parameters:
            parameter.requires_grad_(begin <= progress < end)
            parameter.grad = None
