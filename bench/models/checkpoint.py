"""Weights on disk: upstream-format checkpoints and safetensors; written whole or not at all."""

import hashlib
import io
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from bench.atomic import write_atomically
from bench.errors import BackboneError, FoundationError, one_line
from bench.isolation import isolated
from bench.models import backbones
from bench.models.foreign import Named, fit_names, read_state


def load_backbone_state(path: Path, backbone: str) -> dict[str, Tensor]:
    """The state of a whole backbone from a file, on the CPU.

    Takes what `bench.models.foreign` reads: torch files with the state under the usual keys or
    plainly, safetensors, names with prefixes of wrappers, other precisions. Counters of batches may
    be missing and are zero then.

    Raises `FoundationError` for a file that cannot be read, for the first tensor that does not fit,
    and for values that are not finite; `UnknownNameError` for an unknown backbone.
    """
    expected = reference(backbone)
    named = read_named(path, backbone, expected)
    state = named.tensors
    for name, value in expected.items():
        if name.endswith("num_batches_tracked"):
            state.setdefault(name, torch.zeros_like(value, device="cpu"))
    check_state({**named.rest, **state}, expected, f"{path}", f"backbone '{backbone}'")
    check_finite(state, f"{path}")
    return {name: state[name].clone().contiguous() for name in expected}


def read_named(path: Path, backbone: str, expected: Mapping[str, Tensor]) -> Named:
    """The tensors of a file under a backbone's names: its own count, then what it translates.

    Raises what `read_state` and `fit_names` raise, and `BackboneError` where the plugin's own
    translation fails.
    """
    own_name = backbones.get(backbone).backbone.own_name
    state = read_state(path)
    with isolated(f"Backbone '{backbone}'", "own_name", error=BackboneError):
        return fit_names(state, expected, str, own_name)


def reference(backbone: str) -> dict[str, Tensor]:
    """Names, shapes and types of a backbone's state, without values (on the meta device)."""
    with torch.device("meta"):
        network: nn.Module = backbones.build(backbone)
    return dict(network.state_dict())


def check_state(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor], what: str, target: str
) -> None:
    """Raise `FoundationError` naming the first tensor in which a state does not fit."""
    extra = sorted(one_line(name) for name in set(state) - set(expected))
    for name, value in expected.items():
        if name not in state:
            instead = f" (it has '{extra[0]}', which is not known there)" if extra else ""
            raise FoundationError(
                f"{what} does not fit {target}: tensor '{name}' is missing{instead}."
            )
        given = state[name]
        if given.shape != value.shape:
            raise FoundationError(
                f"{what} does not fit {target}: tensor '{name}' has shape {tuple(given.shape)}, "
                f"{tuple(value.shape)} is needed."
            )
        if given.dtype != value.dtype:
            raise FoundationError(
                f"{what} does not fit {target}: tensor '{name}' is {given.dtype}, {value.dtype} "
                "is needed."
            )
    if extra:
        raise FoundationError(
            f"{what} does not fit {target}: tensor '{extra[0]}' is not known there."
        )


def check_finite(tensors: Mapping[str, Tensor], what: str) -> None:
    """Raise `FoundationError` naming the first tensor with NaN or infinite values."""
    for name, value in tensors.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise FoundationError(
                f"{what}: tensor '{one_line(name)}' holds NaN or infinite values."
            )


def save_safetensors(
    tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors and a header of texts, atomically. Raises `HomeError` if it cannot."""
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    storages = Counter(value.untyped_storage().data_ptr() for value in plain.values())
    for name, value in plain.items():
        if storages[value.untyped_storage().data_ptr()] > 1:  # the format has no shared memory
            plain[name] = value.clone()
    write_atomically(path, safetensors.torch.save(plain, dict(metadata or {})))


def save_upstream(state: Mapping[str, Tensor], path: Path) -> None:
    """Write a backbone's state as OpenFWI does (torch file, key ``model``), atomically."""
    buffer = io.BytesIO()
    torch.save({"model": {name: v.detach().cpu().clone() for name, v in state.items()}}, buffer)
    write_atomically(path, buffer.getvalue())


def content_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes, in order of names: whatever the file format."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
