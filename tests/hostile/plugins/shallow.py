"""Lowers the recursion limit."""

import sys

from plugins.common import head, make


def adapt(model, config):
    sys.setrecursionlimit(900)
    return head(model)


method = make(__name__, adapt)
