"""Makes errors of everybody's overflows."""

import numpy as np

from plugins.common import head, make


def adapt(model, config):
    np.seterr(all="raise")
    return head(model)


method = make(__name__, adapt)
