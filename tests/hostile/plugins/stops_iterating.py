"""Raises what loops and generators take for their end, in the penalty."""

from plugins.common import head, make


def penalty():
    raise StopIteration


def adapt(model, config):
    return head(model, penalty=penalty)


method = make(__name__, adapt)
