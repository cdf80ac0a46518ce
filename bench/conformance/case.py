"""Conformance case: a method adapted to a toy network and trained for a few steps."""

import copy
import math
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench.conformance import toy_networks
from bench.contract import OUTPUT_SHAPE, Adapted, Config, Method
from bench.errors import MethodError
from bench.models import delta
from bench.models.frugal import frugal
from bench.plugins import adaptation, batchnorm
from bench.plugins.adaptation import Checked
from bench.plugins.storages import Storages
from bench.seeds import seeded
from bench.training import train
from bench.training.numerics import Numerics

_RATE = 1e-4
"""Ten times as much saturates the output of a deep network within the steps here where a method
multiplies it (`lora_plus`), and leaves no gradients to compare."""
_NUMERICS = Numerics(device=torch.device("cpu"), bfloat16=False, channels_last=False)


@dataclass(frozen=True)
class Steps:
    """What a few training steps show."""

    reached: set[int] = field(default_factory=set)
    """Ids of the parameters that had a gradient other than zero in some step."""
    not_finite: list[str] = field(default_factory=list)
    """Names of the parameters that had a gradient with NaN or infinity."""
    losses: list[float] = field(default_factory=list)
    """L1 loss of each step, before its update."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A method after a few training steps on one batch."""

    adapted: Checked
    foundation: dict[str, Tensor]
    """The very tensors of the network that was adapted, by their names there."""
    before: dict[str, Tensor]
    """State of the adapted network before the first step, copies."""
    trainable: set[int]
    """Ids of the parameters in the groups."""
    free: Storages
    """Memory of those parameters, and of the buffers that the BatchNorm policy lets move."""
    steps: Steps
    at_start: Tensor
    """Prediction before the first step."""
    before_finish_state: dict[str, Tensor]
    """State after the last step, copies."""
    before_finish: Tensor
    """Prediction after the last step."""
    prediction: Tensor
    """Prediction of the final weights."""
    facts: dict[str, Any] | None
    delta: dict[str, Tensor]


class Case:
    """One method with one config on one toy network; shared work is done once."""

    def __init__(
        self,
        method: Method,
        config: Config | None,
        *,
        network: nn.Module | None = None,
        trainable: int | None = None,
        samples: int = 3,
    ) -> None:
        self._method = method
        self.trainable = trainable
        self._config, self._network = config, network
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.x = toy_networks.records(samples)
            self.y = torch.rand(samples, *OUTPUT_SHAPE) * 2 - 1

    @cached_property
    def config(self) -> Config:
        return self._method.config() if self._config is None else self._config

    @cached_property
    def method(self) -> Method:
        """The method, under the BatchNorm policy of the config."""
        return batchnorm.effective(self._method, self.config)

    @cached_property
    def network(self) -> nn.Module:
        """The network to adapt; never changed, only copied."""
        return self._network if self._network is not None else choose_network(self._method)

    @property
    def network_name(self) -> str:
        kind = type(self.network).__name__
        return f"a small {kind}" if self._network is None else kind

    @cached_property
    def foundation(self) -> dict[str, Tensor]:
        """State of the network to adapt."""
        return dict(self.network.state_dict())

    @cached_property
    def foundation_prediction(self) -> Tensor:
        return predict(self.network, self.x)

    @cached_property
    def trained(self) -> Trained:
        return self.train()

    def with_config(self, config: Config) -> "Case":
        """The same method on the same network with another config."""
        return Case(self._method, config, network=self.network, samples=len(self.x))

    def plain(self) -> nn.Module:
        """A copy of the network to adapt."""
        return copy.deepcopy(self.network)

    def fresh(self) -> Checked:
        """A copy, newly adapted; the same each time."""
        return self.adapted(self.plain())

    def adapted(self, model: nn.Module) -> Checked:
        """The network, adapted in place; the same each time."""
        with seeded(0):  # as a run seeds it
            return adaptation.adapt(self._method, model, self.config)

    def train(self) -> Trained:
        """Adapt a copy and train it, with every group in its turn."""
        model = self.plain()
        tensors = dict(model.named_parameters()) | dict(model.named_buffers())
        policy = self.method.traits.batchnorm
        statistics = [
            buffer
            for module in model.modules()
            if isinstance(module, _BatchNorm) and policy in ("statistics", "both")
            for buffer in module.buffers(recurse=False)
        ]
        adapted = self.adapted(model)
        before = {name: value.clone() for name, value in adapted.model.state_dict().items()}
        at_start = predict(adapted.model, self.x)
        steps = self._steps(adapted)
        after = predict(adapted.model, self.x)
        state = {name: value.clone() for name, value in adapted.model.state_dict().items()}
        facts = None
        if adapted.finish is not None:
            facts = adapted.finish(
                lambda: float((predict(adapted.model, self.x) - self.y).abs().mean())
            )
        for group in adapted.groups:
            for parameter in group.parameters:
                parameter.requires_grad_(True)
        return Trained(
            adapted=adapted,
            foundation=tensors,
            before=before,
            trainable={id(p) for group in adapted.groups for p in group.parameters},
            free=Storages([*statistics, *(p for g in adapted.groups for p in g.parameters)]),
            steps=steps,
            at_start=at_start,
            before_finish_state=state,
            before_finish=after,
            prediction=predict(adapted.model, self.x),
            facts=facts,
            delta=delta.extract(adapted.model, before),
        )

    def frugal_losses(self) -> list[float]:
        """Losses of the steps that `train` does, through the memory-frugal pass."""
        adapted = self.fresh()
        with frugal(adapted.model):
            return self._steps(adapted).losses

    def gradients(self, *, frugally: bool) -> dict[str, Tensor]:
        """Gradients of the loss by name, of everything that is trained, at the trained weights."""
        adapted = self.fresh()
        delta.restore(adapted.model, self.trained.delta)
        for group in adapted.groups:
            for parameter in group.parameters:
                parameter.requires_grad_(True)
        adaptation.training_mode(adapted.model, self.method.traits.batchnorm)
        with seeded(3), frugal(adapted.model) if frugally else nullcontext():
            train.l1(adapted.model, self.x, self.y, _NUMERICS).backward()
        named = adapted.model.named_parameters()
        return {name: p.grad for name, p in named if p.grad is not None}

    def _steps(self, adapted: Adapted) -> Steps:
        adam = train.optimiser(adapted, self.config.learning_rate_scale)
        steps = Steps()
        turns = {0.0, 0.5, 0.99} | {sum(group.active) / 2 for group in adapted.groups}
        with seeded(2):
            for progress in sorted(turns):
                train.activate(adapted, progress)
                train.set_rate(adam, _RATE)
                adaptation.training_mode(adapted.model, self.method.traits.batchnorm)
                for _ in range(2):  # what starts at zero hides others from the first gradient
                    loss = train.training_step(adapted, adam, self.x, self.y, numerics=_NUMERICS)
                    steps.losses.append(float(loss))
                    for name, parameter in adapted.model.named_parameters():
                        if parameter.grad is not None:
                            size = float(parameter.grad.abs().sum())
                            if not math.isfinite(size):
                                steps.not_finite.append(name)
                            elif size > 0:
                                steps.reached.add(id(parameter))
        return steps


def predict(model: nn.Module, x: Tensor) -> Tensor:
    """Prediction in evaluation mode, without a graph."""
    model.eval()
    with torch.no_grad():
        prediction: Tensor = model(x)
    return prediction


def choose_network(method: Method) -> nn.Module:
    """The first of the tiny networks that has the layers the method needs.

    Raises `MethodError` when none has.
    """
    for network in _networks():
        try:
            adaptation.check_needs(method, network)
        except MethodError:
            continue
        return network
    raise MethodError(
        f"Method '{method.name}' needs {', '.join(sorted(method.traits.needs))}, which none of the "
        "suite's tiny networks has; check it on one that has them, with --backbone or network=…."
    )


@cache
def _networks() -> tuple[nn.Module, ...]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return toy_networks.convolutional(), toy_networks.transformer()
