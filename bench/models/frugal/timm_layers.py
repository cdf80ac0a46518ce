"""Layers of timm, where timm is in use."""

import sys
from collections.abc import Callable
from typing import Any


def timm_forward(module: str, name: str) -> Callable[..., Any] | None:
    """The forward of a class of timm's; None where its module is not loaded.

    A network that contains a layer of timm's has loaded it. Importing timm here would cost all
    other networks a second.
    """
    loaded = sys.modules.get(f"timm.{module}")
    kind = None if loaded is None else vars(loaded).get(name)
    return None if kind is None else vars(kind).get("forward")
