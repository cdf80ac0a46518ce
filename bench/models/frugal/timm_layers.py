"""Layers of timm, where timm is in use."""

import sys


def timm_class(module: str, name: str) -> type | None:
    """A class of timm's; None where its module is not loaded, so no network can contain it."""
    loaded = sys.modules.get(f"timm.{module}")
    found = None if loaded is None else vars(loaded).get(name)
    return found if isinstance(found, type) else None
