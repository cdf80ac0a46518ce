"""Weights on disk: upstream-format checkpoints and safetensors; written whole or not at all."""

import argparse
import hashlib
import io
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from bench.atomic import write_atomically
from bench.errors import FoundationError
from bench.models import backbones

_KEYS = ("model", "model_state", "state_dict")
"""Where a checkpoint file keeps the weights: OpenFWI's training script, older ones, timm's."""
_PREFIX = "module."
"""What DistributedDataParallel puts before every name."""


def load_backbone_state(path: Path, backbone: str) -> dict[str, Tensor]:
    """The state of a whole backbone from a file, on the CPU.

    Takes what `read_state` takes. Counters of batches may be missing and are zero then.

    Raises `FoundationError` for a file that cannot be read, and for the first tensor that does not
    fit; `UnknownNameError` for an unknown backbone.
    """
    expected = reference(backbone)
    state = read_state(path)
    for name, value in expected.items():
        if name.endswith("num_batches_tracked"):
            state.setdefault(name, torch.zeros_like(value, device="cpu"))
    check_state(state, expected, f"{path}", f"backbone '{backbone}'")
    return {name: state[name].clone().contiguous() for name in expected}


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint file by name, on the CPU, whatever network they belong to.

    Takes safetensors files, and torch files that hold the state under the key ``model`` (as
    OpenFWI publishes them), ``model_state`` or ``state_dict`` (as timm's training script writes
    them), or plainly; a ``module.`` prefix is dropped.

    Raises `FoundationError` for a file that cannot be read.
    """
    state = load_safetensors(path)[0] if path.suffix == ".safetensors" else _load_torch(path)
    return {name.removeprefix(_PREFIX): value for name, value in state.items()}


def reference(backbone: str) -> dict[str, Tensor]:
    """Names, shapes and types of a backbone's state, without values (on the meta device)."""
    with torch.device("meta"):
        network: nn.Module = backbones.build(backbone)
    return dict(network.state_dict())


def check_state(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor], what: str, target: str
) -> None:
    """Raise `FoundationError` naming the first tensor in which a state does not fit."""
    for name, value in expected.items():
        if name not in state:
            raise FoundationError(f"{what} does not fit {target}: tensor '{name}' is missing.")
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
    if extra := sorted(set(state) - set(expected)):
        raise FoundationError(
            f"{what} does not fit {target}: tensor '{extra[0]}' is not known there."
        )


def load_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and header of a safetensors file. Raises `FoundationError` if it cannot be read."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no dict
            return tensors, dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise FoundationError(f"{path} cannot be read as safetensors: {error}.") from error


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


def _load_torch(path: Path) -> dict[str, Tensor]:
    try:
        # Upstream files also hold the arguments of their training script.
        with torch.serialization.safe_globals([argparse.Namespace]):
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can fail anywhere in the unpickler
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise FoundationError(f"{path} cannot be read as a torch checkpoint: {reason}") from error
    if isinstance(content, dict):
        for key in _KEYS:
            if isinstance(content.get(key), dict):
                content = content[key]
                break
    if not isinstance(content, dict) or not content:
        raise FoundationError(
            f"{path} holds no weights: a dictionary of tensors, or one under 'model', is needed."
        )
    for name, value in content.items():
        if not isinstance(value, Tensor):
            raise FoundationError(
                f"{path} holds no weights: '{name}' is a {type(value).__name__}, not a tensor."
            )
    return content
