"""Gives a text for a learning rate."""

from dataclasses import replace

from plugins.common import head, make


def adapt(model, config):
    adapted = head(model)
    return replace(adapted, groups=(replace(adapted.groups[0], learning_rate_scale="fast"),))


method = make(__name__, adapt)
