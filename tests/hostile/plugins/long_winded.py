"""Raises an error with 50 MB of text."""

from plugins.common import make


def adapt(model, config):
    raise ValueError("very " * 10_000_000)


method = make(__name__, adapt)
