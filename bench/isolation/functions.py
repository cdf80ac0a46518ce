"""Functions that everybody's numbers are computed with: whether somebody has replaced one.

What is compared is identity: of everything that can be called in the namespaces below, and of
everything in the harness's own modules. A plugin that changes what such a function refers to, or
its code object, is not found out.
"""

import builtins
import hashlib
import json
import math
import os
import pathlib
import random
import sys
import time
from functools import cache, lru_cache
from operator import is_
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

Namespace = ModuleType | type

_MODULES: tuple[ModuleType, ...] = (
    *(torch, torch.nn, torch.nn.functional, torch.nn.init, torch.nn.utils, torch.autograd),
    *(torch.optim, torch.linalg, torch.fft, torch.random, torch.cuda, torch.backends),
    *(np, np.random, np.linalg, np.fft),
    *(builtins, hashlib, json, math, os, random, time),
)
_HARNESS = __name__.partition(".")[0]
_TORCH_DECORATES = {"manual_seed", "step"}
"""Torch replaces these by wrappers of its own when it first needs its compiler or an optimiser."""
_ABSENT = object()


class Functions:
    """The functions as they were when this was made."""

    def __init__(self) -> None:
        self._before = [(space, dict(vars(space))) for space in _namespaces()]
        self._modules = dict(sys.modules)

    def restore(self) -> list[str]:
        """Bring functions back that have been replaced or removed; their names."""
        changed = []
        for space, before in self._before:
            for name in _replaced(space, before):
                value = before.get(name, _ABSENT)
                if value is _ABSENT:
                    delattr(space, name)
                else:
                    setattr(space, name, value)
                changed.append(f"{_named(space)}.{name}")
        for name, module in self._modules.items():
            if sys.modules.get(name) is not module:
                sys.modules[name] = module
                changed.append(f"sys.modules['{name}']")
        return changed


@cache
def _foreign() -> tuple[Namespace, ...]:
    layers = dict.fromkeys(value for value in vars(nn).values() if isinstance(value, type))
    return (
        *_MODULES,
        *layers,
        *(nn.modules.batchnorm._BatchNorm, nn.modules.conv._ConvNd),
        *(torch.Tensor, torch.autograd.Function, torch.optim.Optimizer, torch.optim.Adam),
        *(torch.optim.AdamW, pathlib.Path, json.JSONEncoder, json.JSONDecoder),
    )


def _namespaces() -> tuple[Namespace, ...]:
    """Those of torch, numpy and Python, and whatever of the harness is loaded."""
    return _loaded_namespaces(len(sys.modules))


@lru_cache(maxsize=1)
def _loaded_namespaces(modules: int) -> tuple[Namespace, ...]:
    own = [
        module
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] == _HARNESS and isinstance(module, ModuleType)
    ]
    # Torch's layers call what their own modules have
    layers = [module for name, module in list(sys.modules.items()) if _is_layers(name, module)]
    return (*_foreign(), *layers, *own, *dict.fromkeys(kind for m in own for kind in _classes(m)))


def _is_layers(name: str, module: object) -> bool:
    return name.startswith(("torch.nn.modules.", "torch.optim.")) and isinstance(module, ModuleType)


def _classes(module: ModuleType) -> list[type]:
    return [
        value
        for value in list(vars(module).values())
        if isinstance(value, type) and value.__module__ == module.__name__
    ]


def _replaced(space: Namespace, before: dict[str, Any]) -> list[str]:
    present = vars(space)
    if list(present) == list(before) and all(map(is_, present.values(), before.values())):
        return []  # the usual case, and thousands of these are compared
    now = dict(present)
    names = [
        name
        for name, value in before.items()
        if now.get(name, _ABSENT) is not value and _matters(space, name, value, now)
    ]
    if len(now) > len(before) or names:
        names += [n for n in now.keys() - before.keys() if _shadows(space, n, now[n])]
    return names


def _matters(space: Namespace, name: str, before: Any, now: dict[str, Any]) -> bool:
    if name.startswith("__pydantic") or _by_torch(name, now.get(name)):
        return False
    return _is_own(space) or callable(before) or isinstance(before, _DESCRIPTORS)


def _shadows(space: Namespace, name: str, added: Any) -> bool:
    """Whether something new comes before what was called until now: a method that was inherited,
    or in a module of the harness a function of the same name in Python itself."""
    if _by_torch(name, added):
        return False
    if isinstance(space, type):
        return any(name in vars(base) for base in space.__mro__[1:]) and not name.startswith("__p")
    return _is_own(space) and name in vars(builtins)


def _by_torch(name: str, value: Any) -> bool:
    folder = str(pathlib.Path(torch.__file__).parent)
    return (
        name in _TORCH_DECORATES
        and isinstance(value, FunctionType)
        and value.__code__.co_filename.startswith(folder)
    )


_DESCRIPTORS = (ModuleType, property, staticmethod, classmethod)


def _is_own(space: Namespace) -> bool:
    name = space.__module__ if isinstance(space, type) else space.__name__
    return name.partition(".")[0] == _HARNESS


def _named(space: Namespace) -> str:
    return f"{space.__module__}.{space.__qualname__}" if isinstance(space, type) else space.__name__
