"""Leads standard error elsewhere."""

import os

from plugins.common import head, make


def adapt(model, config):
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    return head(model)


method = make(__name__, adapt)
