"""Networks (n, 5, 1000, 70) → (n, 1, 70, 70) by name."""

from torch import nn

from bench.backbones.inversionnet import InversionNet
from bench.errors import UnknownNameError

_BACKBONES: dict[str, type[nn.Module]] = {"inversionnet": InversionNet}


def build(name: str) -> nn.Module:
    """A freshly initialised backbone on the CPU; seed torch first for a repeatable one.

    Raises `UnknownNameError` for a name that is not a backbone.
    """
    if name not in _BACKBONES:
        raise UnknownNameError("backbone", name, _BACKBONES)
    return _BACKBONES[name]()
