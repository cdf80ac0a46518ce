"""Makes errors of everybody's warnings."""

import warnings

from plugins.common import head, make


def adapt(model, config):
    warnings.simplefilter("error")
    return head(model)


method = make(__name__, adapt)
