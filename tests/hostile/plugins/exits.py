"""Ends the process."""

import sys

from plugins.common import head, make


def adapt(model, config):
    sys.exit(0)
    return head(model)


method = make(__name__, adapt)
