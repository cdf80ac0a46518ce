"""Puts itself between everybody and torch's operations."""

from torch.utils.flop_counter import FlopCounterMode

from plugins.common import head, make


def adapt(model, config):
    FlopCounterMode(display=False).__enter__()
    return head(model)


method = make(__name__, adapt)
