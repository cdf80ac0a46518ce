"""Puts another module in place of numpy's."""

import sys
from types import ModuleType

from plugins.common import head, make


def adapt(model, config):
    sys.modules["numpy"] = ModuleType("numpy")
    return head(model)


method = make(__name__, adapt)
