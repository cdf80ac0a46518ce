"""Replaces a method of a class of torch."""

from torch import nn

from plugins.common import head, make


def adapt(model, config):
    nn.BatchNorm2d.__call__ = lambda self, x: x * 0.5
    return head(model)


method = make(__name__, adapt)
