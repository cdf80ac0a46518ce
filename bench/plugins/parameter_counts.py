"""Parameter counts of methods on a backbone, without training anything."""

import copy
from dataclasses import dataclass
from functools import cache

import torch
from torch import nn

from bench.contract import Config, Method
from bench.errors import MethodError
from bench.models import backbones
from bench.plugins import adaptation


@dataclass(frozen=True, kw_only=True)
class ParameterCounts:
    """Numbers of parameters of an adapted network."""

    trainable: int
    total: int


@cache
def _skeleton(backbone: str) -> nn.Module:
    with torch.device("meta"):  # no weights: instant
        return backbones.build(backbone)


def check_builds(backbone: str) -> None:
    """Raises what `backbones.build` raises for a network that cannot be built."""
    _skeleton(backbone)


def check_needs(method: Method, backbone: str) -> None:
    """Raises `MethodError` when the network lacks layers that the method needs."""
    adaptation.check_needs(method, _skeleton(backbone))


def missing_layers(method: Method, backbone: str) -> str:
    """The layers that the method needs and the network lacks, in words; empty if none."""
    return adaptation.missing_layers(method, _skeleton(backbone))


def skeleton(backbone: str) -> nn.Module:
    """A network on the meta device: shapes without weights."""
    return copy.deepcopy(_skeleton(backbone))


def backbone_parameters(backbone: str) -> int:
    """Parameters of the plain network."""
    return sum(p.numel() for p in _skeleton(backbone).parameters())


def count(method: Method, config: Config, backbone: str) -> ParameterCounts:
    """Adapt a fresh network and count. Raises what `adaptation.adapt` raises."""
    try:
        adapted = adaptation.adapt(method, skeleton(backbone), config)
    except MethodError:  # it may only be that the method looks at weights, which the meta has not
        adapted = adaptation.adapt(method, backbones.build(backbone), config)
    return ParameterCounts(
        trainable=sum(p.numel() for group in adapted.groups for p in group.parameters),
        total=sum(p.numel() for p in adapted.model.parameters()),
    )
