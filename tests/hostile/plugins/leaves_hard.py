"""Ends the process without any clean-up."""

import os

from plugins.common import head, make


def adapt(model, config):
    os._exit(0)
    return head(model)


method = make(__name__, adapt)
