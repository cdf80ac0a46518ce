"""Reads where no memory is: the system ends the process."""

import ctypes

from plugins.common import calling, make


def act(model):
    if model.training:
        ctypes.string_at(0)


method = make(__name__, calling(act))
