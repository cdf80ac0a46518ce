"""Raises an error whose text cannot be encoded, with a control sequence in it."""

from plugins.common import make


def adapt(model, config):
    raise ValueError("half a pair: \udc80, and a red word: \x1b[31mred")


method = make(__name__, adapt)
