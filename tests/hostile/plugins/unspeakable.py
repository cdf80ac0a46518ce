"""Raises an error that has no text."""

from plugins.common import make


class UnspeakableError(Exception):
    def __str__(self):
        raise SystemExit("not for you")


def adapt(model, config):
    raise UnspeakableError


method = make(__name__, adapt)
