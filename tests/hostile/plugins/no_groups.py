"""Returns None for its groups."""

from bench.contract import Adapted
from plugins.common import make


def adapt(model, config):
    return Adapted(model=model, groups=None)


method = make(__name__, adapt)
