"""Networks (n, 5, 1000, 70) → (n, 1, 70, 70) by name: plugins of the group `bench.backbones`."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint

import torch
from torch import Tensor, nn

from bench import entry_points
from bench.contract import Backbone
from bench.entry_points import PluginProblem, code_hash
from bench.errors import BackboneError, UnknownNameError
from bench.isolation import contained, is_interruption, isolated
from bench.protocol.spec import BackboneSpec

GROUP = "bench.backbones"


@dataclass(frozen=True, kw_only=True)
class InstalledBackbone:
    """A backbone and where it comes from."""

    backbone: Backbone
    distribution: str
    distribution_version: str
    code: str
    """Hash of the plugin's code, blind to comments, docstrings and layout."""

    @property
    def spec(self) -> BackboneSpec:
        """The backbone as a fit's identity has it."""
        return BackboneSpec(
            name=self.backbone.name,
            distribution=self.distribution,
            version=self.backbone.version,
        )


def names() -> tuple[str, ...]:
    """Names of the installed backbones; none is imported."""
    return tuple(dict.fromkeys(entry.name for entry in entry_points.find(GROUP)))


@cache
def get(name: str) -> InstalledBackbone:
    """Import the backbone of that name, and no other.

    Raises `UnknownNameError` for a name that is not a backbone, `BackboneError` for one that cannot
    be used.
    """
    entries = entry_points.find(GROUP)
    problem = None
    for entry in entries:
        if entry.name != name:
            continue
        owner, release = entry_points.distribution(entry)
        try:
            with contained([]):
                entry_points.check_unique(entry, entries, "backbone")
                return InstalledBackbone(
                    backbone=_import(entry),
                    distribution=owner,
                    distribution_version=release,
                    code=code_hash(sys.modules[entry.module]),
                )
        except BaseException as error:  # a plugin may fail in any way
            if is_interruption(error):
                raise
            problem = PluginProblem(
                name=name, distribution=owner, reason=entry_points.reason(error)
            )
    if problem is not None:
        raise BackboneError(
            f"Backbone '{name}' of package {problem.distribution} cannot be used: {problem.reason}"
        )
    raise UnknownNameError("backbone", name, names())


def _import(entry: EntryPoint) -> Backbone:
    backbone = entry.load()
    if not isinstance(backbone, Backbone):
        kind = type(backbone).__name__
        raise BackboneError(f"{entry.value} is a {kind}, not a bench.contract.Backbone.")
    if backbone.name != entry.name:
        raise BackboneError(
            f"the object calls itself '{backbone.name}', its entry point '{entry.name}'; use one "
            "name."
        )
    return backbone


def spec(name: str) -> BackboneSpec:
    """A backbone as a fit's identity has it. Raises what `get` raises."""
    return get(name).spec


def build(name: str) -> nn.Module:
    """A freshly initialised backbone on the CPU; seed torch first for a repeatable one.

    Raises what `get` raises, `BackboneError` where building fails, and the `ConfigError` of a
    plugin that lacks something.
    """
    return _build(get(name).backbone)


def _build(backbone: Backbone) -> nn.Module:
    with isolated(f"Backbone '{backbone.name}'", "build", error=BackboneError):
        network = backbone.build()
        if not isinstance(network, nn.Module):
            raise BackboneError(
                f"Backbone '{backbone.name}' builds a {type(network).__name__}, not a "
                "torch.nn.Module."
            )
    return network


def restore(name: str, state: Mapping[str, Tensor]) -> nn.Module:
    """A backbone with copies of the tensors of a whole state; nothing is drawn at random.

    Raises what `get` raises, and `RuntimeError` for a state that does not fit.
    """
    return restore_from(get(name).backbone, state)


def restore_from(backbone: Backbone, state: Mapping[str, Tensor]) -> nn.Module:
    """A backbone that need not be installed, with copies of the tensors of a whole state.

    Raises `BackboneError` for one that cannot be built, `RuntimeError` for a state that does not
    fit.
    """
    with torch.device("meta"):
        network = _build(backbone)
    network.load_state_dict({key: value.clone() for key, value in state.items()}, assign=True)
    return network
