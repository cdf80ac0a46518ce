"""Conformance case: a backbone, built and trained for a few steps."""

import copy
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from unittest import mock

import torch
from torch import Tensor, nn

from bench.conformance import toy_networks
from bench.contract import OUTPUT_SHAPE, Backbone
from bench.errors import BackboneError
from bench.plugins import adaptation

SAMPLES = 3
_STEPS = 3
_RATE = 1e-3


@dataclass(frozen=True, kw_only=True)
class TrainedBackbone:
    """A backbone after a few training steps on one batch, all of it trained."""

    network: nn.Module
    before: dict[str, Tensor]
    """State before the first step, copies."""
    reached: set[str]
    """Names of the parameters that had a gradient other than zero in some step."""
    not_finite: set[str]
    """Names of the parameters that had a gradient with NaN or infinity."""
    prediction: Tensor
    """In evaluation mode, of the final weights."""


class BackboneCase:
    """One backbone; shared work is done once."""

    def __init__(self, backbone: Backbone, *, samples: int = SAMPLES, settled: bool = True) -> None:
        self.backbone = backbone
        self._settled = settled
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.x = toy_networks.records(samples)
            self.y = torch.rand(samples, *OUTPUT_SHAPE) * 2 - 1

    def build(self, seed: int) -> nn.Module:
        """A fresh network. Raises `BackboneError` if it is none, or asks for an internet host."""
        with torch.random.fork_rng(devices=[]), _offline() as asked:
            torch.manual_seed(seed)
            network = self.backbone.build()
        if asked:
            raise BackboneError("building it opens a network connection; weights must be random.")
        if not isinstance(network, nn.Module):
            raise BackboneError(f"build returns a {type(network).__name__}, not a torch module.")
        return network

    @cached_property
    def fresh(self) -> nn.Module:
        """A network as built from seed 0; never changed, only copied."""
        return self.build(0)

    @cached_property
    def network(self) -> nn.Module:
        """The same in evaluation mode, with BatchNorm statistics of its own if the case is settled;
        never changed."""
        if not self._settled:
            return toy_networks.copy_of(self.fresh)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return toy_networks.settle(copy.deepcopy(self.fresh))

    @cached_property
    def trained(self) -> TrainedBackbone:
        return self.train()

    def train(self) -> TrainedBackbone:
        """Train a copy of all weights for a few steps, BatchNorm with batch statistics."""
        network = copy.deepcopy(self.network)
        before = {name: value.clone() for name, value in network.state_dict().items()}
        adam = torch.optim.AdamW(network.parameters(), lr=_RATE)
        reached: set[str] = set()
        not_finite: set[str] = set()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2)
            for _ in range(_STEPS):  # what starts at zero hides others from the first gradient
                adaptation.training_mode(network, "both")
                adam.zero_grad(set_to_none=True)
                (network(self.x) - self.y).abs().mean().backward()
                for name, parameter in network.named_parameters():
                    if parameter.grad is not None:
                        size = parameter.grad.abs().sum()
                        if not torch.isfinite(size):
                            not_finite.add(name)
                        elif size > 0:
                            reached.add(name)
                adam.step()
        return TrainedBackbone(
            network=network,
            before=before,
            reached=reached,
            not_finite=not_finite,
            prediction=self.predict(network),
        )

    def predict(self, network: nn.Module, x: Tensor | None = None) -> Tensor:
        """Prediction in evaluation mode, without a graph; of the case's records if x is None."""
        network.eval()
        with torch.no_grad():
            prediction: Tensor = network(self.x if x is None else x)
        return prediction


@contextmanager
def _offline() -> Iterator[list[object]]:
    """Refuse connections to internet hosts for a while; yields the addresses that were asked."""
    asked: list[object] = []
    connect: Callable[..., None] = socket.socket.connect

    def refuse(self: socket.socket, address: object) -> None:
        if self.family not in (socket.AF_INET, socket.AF_INET6):
            return connect(self, address)
        asked.append(address)
        raise OSError("the conformance suite allows no connections")

    with mock.patch.object(socket.socket, "connect", refuse):
        yield asked
