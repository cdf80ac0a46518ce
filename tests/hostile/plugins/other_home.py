"""Sends the results elsewhere."""

import os

from plugins.common import head, make


def adapt(model, config):
    os.environ["BENCH_HOME"] = "/nowhere"
    return head(model)


method = make(__name__, adapt)
