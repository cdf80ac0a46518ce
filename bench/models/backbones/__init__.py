"""Networks (n, 5, 1000, 70) → (n, 1, 70, 70) by name."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bench.errors import UnknownNameError
from bench.models.backbones.inversionnet import InversionNet

_BACKBONES: dict[str, type[nn.Module]] = {"inversionnet": InversionNet}


def build(name: str) -> nn.Module:
    """A freshly initialised backbone on the CPU; seed torch first for a repeatable one.

    Raises `UnknownNameError` for a name that is not a backbone.
    """
    if name not in _BACKBONES:
        raise UnknownNameError("backbone", name, _BACKBONES)
    return _BACKBONES[name]()


def restore(name: str, state: Mapping[str, Tensor]) -> nn.Module:
    """A backbone with copies of the tensors of a whole state; nothing is drawn at random.

    Raises `UnknownNameError` for a name that is not a backbone, `RuntimeError` for a state that
    does not fit.
    """
    with torch.device("meta"):
        network = build(name)
    network.load_state_dict({key: value.clone() for key, value in state.items()}, assign=True)
    return network
