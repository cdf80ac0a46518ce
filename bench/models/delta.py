"""Deltas: what an adapted network changes in its foundation, trainables and buffers.

A delta is kept as safetensors; its header names method, config, backbone and foundation.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import FoundationError
from bench.models.checkpoint import check_finite, save_safetensors
from bench.models.foreign import load_safetensors

_LONGEST_CONFIG = 100_000
"""Characters of JSON."""
_NUMBER = re.compile(r"[0-9]{1,19}")


def extract(model: nn.Module, foundation: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Trainable parameters, and whatever else differs from the foundation, bit for bit.

    `foundation` is the state of the adapted network before the first training step (CPU copies).
    """
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    delta = {}
    for name, value in model.state_dict().items():
        now = value.detach().cpu()
        if name in trainable or not torch.equal(now, foundation[name]):
            delta[name] = now.clone().contiguous()
    return delta


def whole(model: nn.Module) -> dict[str, Tensor]:
    """All of a network's state, as CPU copies: the delta to a network without values."""
    return {n: v.detach().cpu().clone().contiguous() for n, v in model.state_dict().items()}


def restore(model: nn.Module, delta: Mapping[str, Tensor]) -> None:
    """Copy a delta into an adapted network, in place.

    Raises `FoundationError` naming the first tensor that does not fit; nothing is changed then.
    """
    state = model.state_dict()
    for name, value in delta.items():
        if name not in state:
            raise FoundationError(
                f"The delta does not fit the adapted network: it has no tensor '{name}'."
            )
        here = state[name]
        if (here.shape, here.dtype) != (value.shape, value.dtype):
            raise FoundationError(
                f"The delta does not fit the adapted network: '{name}' is {value.dtype} "
                f"{tuple(value.shape)} in the delta and {here.dtype} {tuple(here.shape)} in the "
                "network."
            )
    with torch.no_grad():
        for name, value in delta.items():
            state[name].copy_(value)


def check_complete(model: nn.Module, delta: Mapping[str, Tensor]) -> None:
    """Raise `FoundationError` for a trained tensor of an adapted network that a delta lacks."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and name not in delta:
            raise FoundationError(
                f"The delta does not fit the adapted network: it lacks the trained tensor '{name}'."
            )


class Switch:
    """Puts the deltas of several tasks on one adapted network in memory, one at a time.

    Values are copied, never added, so any number of changes leaves no trace: `remove` brings back
    the network's own values bit for bit. The deltas must come from the same method and config.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._own: dict[str, Tensor] = {}
        """What the network had where a delta has been put."""

    def put(self, delta: Mapping[str, Tensor]) -> None:
        """Replace the present delta. Raises `FoundationError` for one that does not fit."""
        state = self._model.state_dict()
        for name in delta:
            if name in state and name not in self._own:
                self._own[name] = state[name].detach().clone()
        rest = {name: value for name, value in self._own.items() if name not in delta}
        restore(self._model, {**delta, **rest})

    def remove(self) -> None:
        """Bring back the network's own values."""
        restore(self._model, self._own)


@dataclass(frozen=True, kw_only=True)
class Header:
    """Provenance of a delta: method, config, backbone, foundation, seed."""

    method: str
    config: dict[str, Any]
    backbone: str
    foundation_sha256: str | None
    """Content hash of the foundation's state; None for a start from scratch."""
    version: int | None = None
    """The method's; older files do not have it."""
    adapt_seed: int | None = None
    """Torch seed before adapting, for methods with frozen random parts."""

    def metadata(self) -> dict[str, str]:
        """The header as texts, for a safetensors file."""
        texts = {
            "method": self.method,
            "config": json.dumps(self.config, sort_keys=True),
            "backbone": self.backbone,
            "foundation_sha256": self.foundation_sha256 or "",
        }
        if self.adapt_seed is not None:
            texts["adapt_seed"] = str(self.adapt_seed)
        if self.version is not None:
            texts["version"] = str(self.version)
        return texts

    @classmethod
    def parse(cls, metadata: Mapping[str, str]) -> "Header":
        """Parse a file's header; raises `KeyError` or `ValueError` if it is not a delta's."""
        numbers = {name: metadata.get(name) for name in ("adapt_seed", "version")}
        for name, number in numbers.items():
            if number is not None and not _NUMBER.fullmatch(number):
                raise ValueError(name)
        seed, version = numbers.values()
        if len(metadata["config"]) > _LONGEST_CONFIG:
            raise ValueError("config: it is too long")
        try:
            config = json.loads(metadata["config"])
        except (ValueError, RecursionError):
            raise ValueError("config") from None
        if not isinstance(config, dict):
            raise ValueError("config")
        return cls(
            method=metadata["method"],
            config=config,
            backbone=metadata["backbone"],
            foundation_sha256=metadata["foundation_sha256"] or None,
            adapt_seed=int(seed) if seed is not None else None,
            version=int(version) if version is not None else None,
        )


def save(delta: Mapping[str, Tensor], header: Header, path: Path) -> None:
    """Write a delta, whole or not at all. Raises `HomeError` if it cannot."""
    save_safetensors(delta, path, header.metadata())


def load(path: Path) -> tuple[dict[str, Tensor], Header]:
    """Read a delta.

    Raises `FoundationError` for a file that is damaged or not a delta, and for values that are not
    finite.
    """
    tensors, metadata = load_safetensors(path)
    check_finite(tensors, f"{path}")
    try:
        return tensors, Header.parse(metadata)
    except (KeyError, ValueError) as error:
        raise FoundationError(
            f"{path} is not a delta of this benchmark: its header lacks a valid {error}."
        ) from error
