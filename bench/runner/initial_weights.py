"""Initial weights from a published checkpoint, in place of random ones: `bench run --weights`.

What fits is kept in the workspace under its content hash, which is part of the backbone's
specification: any process finds it there, and networks that start differently have records of
their own.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from bench.errors import FoundationError, HomeError, one_line
from bench.models import backbones
from bench.models.checkpoint import (
    check_finite,
    content_hash,
    read_named,
    reference,
    save_safetensors,
)
from bench.models.foreign import load_safetensors
from bench.protocol.spec import BackboneSpec
from bench.runner.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Match:
    """The tensors of a checkpoint that fit a backbone, and those that do not."""

    tensors: dict[str, Tensor]
    """Tensors by the network's own names, in its types."""
    left_out: dict[str, str]
    """Tensors of the checkpoint that do not fit, by their names there, and why."""
    random: tuple[str, ...]
    """Names of what stays as it is initialised."""


def match(path: Path, backbone: str) -> Match:
    """Find the tensors of a checkpoint file that a backbone has, of the same shape.

    Raises `FoundationError` for a file that cannot be read, of which nothing fits, or with values
    that are not finite; `UnknownNameError` for an unknown backbone.
    """
    expected = reference(backbone)
    named = read_named(path, backbone, expected)
    tensors: dict[str, Tensor] = {}
    left_out = dict.fromkeys(map(one_line, named.rest), "no such tensor")
    for name, value in named.tensors.items():
        if value.shape == expected[name].shape:
            tensors[name] = value.to(expected[name].dtype)
        else:
            there, needed = tuple(value.shape), tuple(expected[name].shape)
            left_out[one_line(named.origin[name])] = f"its shape is {there}, not {needed}"
    if not tensors:
        raise FoundationError(
            f"{path}: none of its {len(left_out)} tensors fits backbone '{backbone}'."
        )
    check_finite(tensors, f"{path}")
    random = tuple(name for name in expected if name not in tensors)
    return Match(tensors=tensors, left_out=left_out, random=random)


def specification(backbone: str, weights: Path | None) -> BackboneSpec:
    """The backbone as runs with these initial weights, or with random ones, name it.

    Raises what `match` raises.
    """
    plain = backbones.spec(backbone)
    if weights is None:
        return plain
    sha256 = content_hash(match(weights, backbone).tensors)
    return plain.model_copy(update={"weights": sha256})


def keep(matched: Match, workspace: Workspace, backbone: BackboneSpec) -> BackboneSpec:
    """Put the tensors into the workspace; returns the backbone that starts from them.

    Raises `HomeError` if they cannot be written.
    """
    sha256 = content_hash(matched.tensors)
    path = workspace.initial_weights(sha256)
    if not path.exists():
        try:
            path.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise HomeError(f"Cannot write {path}: {error.strerror or error}.") from error
        save_safetensors(matched.tensors, path)
    return backbone.model_copy(update={"weights": sha256})


def put(network: nn.Module, workspace: Workspace, sha256: str) -> None:
    """Copy kept tensors into a network, in place.

    Raises `FoundationError` if the workspace does not have them or the file has changed.
    """
    path = workspace.initial_weights(sha256)
    if not path.exists():
        raise FoundationError(
            f"{path} is missing: give the checkpoint once more with bench run --weights."
        )
    tensors, _ = load_safetensors(path)
    if content_hash(tensors) != sha256:
        raise FoundationError(f"{path}: the content does not have the hash in its name; remove it.")
    try:
        unknown = network.load_state_dict(tensors, strict=False).unexpected_keys
    except RuntimeError as error:
        raise FoundationError(f"{path} does not fit the network: {error}") from error
    if unknown:
        raise FoundationError(f"{path} does not fit the network: '{unknown[0]}' is not known.")


def borrow(backbone: BackboneSpec, source: Workspace, target: Workspace) -> None:
    """Copy the initial weights of a backbone, if it has any, from another workspace."""
    if backbone.weights is None:
        return
    original, copy = (w.initial_weights(backbone.weights) for w in (source, target))
    if original.exists() and not copy.exists():
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(original, copy)


def summary(matched: Match, path: Path, backbone: str) -> str:
    """Summary of the tensors taken and left, in a few lines."""
    lines = [
        f"Initial weights: {len(matched.tensors)} tensors of {path.name} go into {backbone}, "
        f"{len(matched.random)} of the network's stay random."
    ]
    by_reason: dict[str, list[str]] = {}
    for name, reason in matched.left_out.items():
        by_reason.setdefault(reason, []).append(name)
    lines += [f"Left out, {why}: {', '.join(names)}." for why, names in by_reason.items()]
    return "\n".join(lines)
