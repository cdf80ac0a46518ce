"""Raises Ctrl-C by itself, in training."""

from plugins.common import calling, make


def act(model):
    if model.training:
        raise KeyboardInterrupt


method = make(__name__, calling(act))
