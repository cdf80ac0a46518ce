"""Saved deltas and foundations, as files: apply, merge, list the differences."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import ValidationError
from torch import Tensor

from bench.contract import Adapted, Method
from bench.errors import FoundationError, MethodError
from bench.isolation import isolated
from bench.models import backbones, delta
from bench.models.checkpoint import (
    check_finite,
    check_state,
    content_hash,
    load_backbone_state,
    reference,
    save_safetensors,
    save_upstream,
)
from bench.plugins import adaptation, registry
from bench.plugins.pretraining import PRETRAINING
from bench.seeds import seed_everything

_TORCH_SUFFIXES = (".pth", ".pt", ".bin", ".ckpt")


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A delta on its foundation, in memory, on the CPU."""

    adapted: Adapted
    method: Method
    header: delta.Header
    foundation: dict[str, Tensor]
    """State of the plain backbone."""
    delta: dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A tensor that differs from the foundation's."""

    name: str
    kind: Literal["added", "changed"]
    shape: tuple[int, ...]
    largest_change: float | None
    """Largest absolute change of an element; None for an added tensor."""
    relative_change: float | None
    """‖new − old‖ / ‖old‖; None for an added tensor."""


def load(foundation: Path | None, delta_file: Path) -> Loaded:
    """Put a saved delta on the foundation it was made for.

    A delta that was trained from scratch holds the whole network and needs no foundation.

    Raises `FoundationError` for a file that is damaged, a foundation whose hash is not the one in
    the delta, or a tensor that does not fit; `MethodError` for a method that is not usable here.
    """
    tensors, header = delta.load(delta_file)
    if header.method == PRETRAINING.name:
        raise FoundationError(
            f"{delta_file} is a foundation, not a delta; name the foundation first, then the "
            "delta.safetensors of a run."
        )
    installed = registry.get(header.method)
    method = installed.method
    version = method.version_on(header.backbone)
    if header.version not in (None, version):
        raise FoundationError(
            f"{delta_file} was made by version {header.version} of method '{method.name}'; "
            f"installed is {version}, of {installed.distribution} {installed.distribution_version}."
        )
    try:
        config = method.config(**header.config)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "config"
        raise FoundationError(
            f"{delta_file} was made with a config that method '{method.name}' of "
            f"{installed.distribution} {installed.distribution_version} does not take: {where}: "
            f"{first['msg']}."
        ) from error
    if foundation is not None:
        state = load_backbone_state(foundation, header.backbone)
    elif header.foundation_sha256 is None:
        state = dict(backbones.build(header.backbone).state_dict())
    else:
        raise FoundationError(f"{delta_file} needs the foundation {_short(header)}; name its file.")
    found = content_hash(state)
    if header.foundation_sha256 is not None and header.foundation_sha256 != found:
        raise FoundationError(
            f"{delta_file} was made for another foundation: it names {_short(header)}, and "
            f"{foundation} is {found[:12]}; use the foundation it was trained on."
        )
    model = backbones.restore(header.backbone, state)
    if header.adapt_seed is not None:
        seed_everything(header.adapt_seed)
    adapted = adaptation.adapt(method, model, config)
    delta.check_complete(adapted.model, tensors)
    delta.restore(adapted.model, tensors)
    adapted.model.eval()
    return Loaded(adapted=adapted, method=method, header=header, foundation=state, delta=tensors)


def apply(foundation: Path, delta_file: Path, out: Path) -> Path:
    """Write the whole adapted network's state as safetensors, with the delta's header."""
    _check_target(out, (".safetensors",), foundation, delta_file)
    loaded = load(foundation, delta_file)
    save_safetensors(loaded.adapted.model.state_dict(), out, loaded.header.metadata())
    return out


def merge(foundation: Path, delta_file: Path, out: Path) -> Path:
    """Write the adapted network as a plain backbone with the upstream names.

    A torch file with the key ``model`` as OpenFWI writes it, or safetensors, by the suffix of
    `out`. Raises `MethodError` for a method whose result is no plain backbone.
    """
    _check_target(out, (*_TORCH_SUFFIXES, ".safetensors"), foundation, delta_file)
    loaded = load(foundation, delta_file)
    state = merged_state(loaded)
    if out.suffix == ".safetensors":
        save_safetensors(state, out, {"backbone": loaded.header.backbone})
    else:
        save_upstream(state, out)
    return out


def merged_state(loaded: Loaded) -> dict[str, Tensor]:
    """State of the plain backbone that predicts the same. Uses `loaded` up."""
    if loaded.adapted.merge is None:
        raise MethodError(
            f"Method '{loaded.method.name}' cannot be merged into a plain "
            f"{loaded.header.backbone}: it adds layers; use apply instead."
        )
    with isolated(f"Method '{loaded.method.name}'", "merge"):
        state = dict(loaded.adapted.merge().state_dict())
    backbone = loaded.header.backbone
    check_state(state, reference(backbone), "The merged network", f"backbone '{backbone}'")
    check_finite(state, "The merged network")
    return state


def diff(foundation: Path, delta_file: Path, *, merged: bool = False) -> list[Difference]:
    """Differences of a delta from its foundation, tensor by tensor.

    With `merged`, the weights of the merged backbone that differ: what the adaptation amounts to.
    """
    loaded = load(foundation, delta_file)
    new = merged_state(loaded) if merged else loaded.delta
    rows = []
    for name, value in new.items():
        old = loaded.foundation.get(name)
        if old is None:
            rows.append(_row(name, "added", value, None))
        elif not torch.equal(value, old):
            rows.append(_row(name, "changed", value, old))
    return rows


def _row(
    name: str, kind: Literal["added", "changed"], new: Tensor, old: Tensor | None
) -> Difference:
    if old is None:
        largest = relative = None
    else:
        change, before = new.double() - old.double(), float(old.double().norm())
        largest = float(change.abs().max())
        relative = float(change.norm()) / before if before > 0 else math.inf
    return Difference(
        name=name,
        kind=kind,
        shape=tuple(new.shape),
        largest_change=largest,
        relative_change=relative,
    )


def _check_target(path: Path, suffixes: tuple[str, ...], *sources: Path) -> None:
    if path.suffix not in suffixes:
        raise FoundationError(
            f"Cannot tell the format of {path} from its name; end it in {', '.join(suffixes)}."
        )
    if path.resolve() in {source.resolve() for source in sources}:
        raise FoundationError(f"{path} would overwrite what is read; choose another file to write.")


def _short(header: delta.Header) -> str:
    return (header.foundation_sha256 or "none")[:12]
