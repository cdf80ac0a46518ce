"""Checkpoint files as people have them: torch files of any training script, safetensors.

Nothing in a file is executed: torch files are read with its restricted unpickler.
"""

import argparse
import importlib
import pathlib
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from bench.errors import FoundationError, one_line
from bench.files import open_regular

_KEYS = (
    *("model", "model_state", "state_dict", "model_state_dict", "state_dict_ema", "model_ema"),
    *("ema", "module", "net", "network", "weights", "params"),
)
"""Where files keep the weights, at any depth: OpenFWI's training script, timm's, Lightning, …"""
_DEPTH = 8
_PREFIXES = ("module.", "model.", "network.", "net.", "ema.")
"""What wrappers put before every name: DistributedDataParallel, Lightning, averaged models."""
_COMPILED = "_orig_mod."
_COUNTERS = ("n_averaged", "total_ops", "total_params")
"""What averaging and profilers add to a state: not weights."""
_OBJECT = re.compile(r"(?:GLOBAL|global|class|function)s? `?'?([A-Za-z_][\w.]*\.\w+)")


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint file by the names they have there, on the CPU.

    Takes safetensors files, and torch files that hold the state plainly or, in any nesting, under a
    usual key such as ``model`` (OpenFWI) or ``state_dict``. What stands beside tensors, such as
    counters of epochs, is left out.

    Raises `FoundationError` for a file that cannot be read or holds no weights.
    """
    if path.suffix == ".safetensors":
        return load_safetensors(path)[0]
    content = _load_torch(path)
    for _ in range(_DEPTH):
        inner = (content[key] for key in _KEYS if isinstance(content.get(key), Mapping))
        found = next(inner, None)
        if found is None:
            break
        content = found
    state = {
        name: value.detach()
        for name, value in content.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }
    if not state:
        keys = ", ".join(repr(one_line(str(key))[:40]) for key in list(content)[:5])
        raise FoundationError(
            f"{path} holds no weights: a dictionary of tensors, or one under 'model', is "
            f"needed; found {keys or 'nothing'}."
        )
    for name, value in state.items():
        if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
            kind = "quantized" if value.is_quantized else f"{value.layout}, {value.device}"
            raise FoundationError(
                f"{path}: tensor '{one_line(name)}' is not a plain array of numbers ({kind})."
            )
    return state


def load_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and header of a safetensors file. Raises `FoundationError` if it cannot be read."""
    try:
        open_regular(path).close()
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no dict
            return tensors, dict(file.metadata() or {})
    except OSError as error:
        raise _unreadable(path, error) from error
    except Exception as error:  # a damaged file can fail anywhere in the reader
        reason = one_line(str(error)).rstrip(".") or type(error).__name__
        raise FoundationError(f"{path} cannot be read as safetensors: {reason}.") from error


@dataclass(frozen=True, kw_only=True)
class Named:
    """The tensors of a file under a network's own names."""

    tensors: dict[str, Tensor]
    origin: dict[str, str]
    """The names in the file by own names."""
    rest: dict[str, Tensor]
    """What the network has no name for, under the names in the file."""


def fit_names(
    state: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    *translations: Callable[[str], str],
) -> Named:
    """Find the own names of a file's tensors.

    Prefixes of wrappers are dropped, then the first of the translations counts that gives a name in
    `expected`; numbers get the network's precision. Raises `FoundationError` where two tensors have
    the same own name.
    """
    named = Named(tensors={}, origin={}, rest={})
    for name, value in state.items():
        candidates = list(_without_prefixes(name))
        names = (translate(c) for translate in translations for c in candidates)
        own = next((known for known in names if known in expected), None)
        if own is None:
            if name.rpartition(".")[2] not in _COUNTERS:
                named.rest[name] = value
        elif own in named.tensors:
            raise FoundationError(
                f"Both '{one_line(named.origin[own])}' and '{one_line(name)}' stand for tensor "
                f"'{own}'; keep one."
            )
        else:
            named.origin[own] = name
            named.tensors[own] = _as(value, expected[own])
    return named


def _without_prefixes(name: str) -> Iterator[str]:
    """The name, and what is left of it as one prefix after another is dropped."""
    yield name
    name = name.replace(_COMPILED, "")
    yield name
    while prefix := next((p for p in _PREFIXES if name.startswith(p)), None):
        name = name.removeprefix(prefix)
        yield name


def _as(value: Tensor, like: Tensor) -> Tensor:
    """The value in the type of `like`, if both are numbers of the same kind."""
    floats = value.is_floating_point() and like.is_floating_point()
    integers = not any(
        t.is_floating_point() or t.is_complex() or t.dtype == torch.bool for t in (value, like)
    )
    # A shape that does not fit is refused later; it may stand for any number of values
    return value.to(like.dtype) if (floats or integers) and value.shape == like.shape else value


def _unreadable(path: Path, error: OSError) -> FoundationError:
    return FoundationError(f"{path} cannot be read: {error.strerror or error}.")


def _load_torch(path: Path) -> Mapping[Any, Any]:
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            open_regular(path) as file,
            torch.serialization.safe_globals(_harmless()),
        ):
            content: Any = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise _unreadable(path, error) from error
    except Exception as error:  # a damaged file can fail anywhere in the unpickler
        if match := _OBJECT.search(str(error)):
            raise FoundationError(
                f"{path} cannot be read as a torch checkpoint: it asks to build a Python object, "
                f"{match[1]}, which could run any code; save the network's state_dict() instead."
            ) from error
        raise FoundationError(
            f"{path} is no torch checkpoint, or damaged; name a file that torch.save has written, "
            "or a .safetensors file."
        ) from error
    if not isinstance(content, Mapping):
        kind = type(content).__name__
        raise FoundationError(
            f"{path} holds no weights: it is a {kind}, not a dictionary of tensors."
        )
    return content


def _harmless() -> list[Any]:
    """Types beside tensors in files of training scripts: arguments, NumPy's numbers, paths."""
    multiarray = importlib.import_module("numpy._core.multiarray")
    functions = [
        (getattr(multiarray, name), f"numpy.{core}.multiarray.{name}")
        for name in ("scalar", "_reconstruct")
        for core in ("core", "_core")
    ]
    types = [type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8", "u1", "u4", "?")]
    paths = [
        (pathlib.PurePosixPath, "pathlib.PosixPath"),
        (pathlib.PureWindowsPath, "pathlib.WindowsPath"),
    ]
    return [argparse.Namespace, np.ndarray, np.dtype, *types, *functions, *paths]
