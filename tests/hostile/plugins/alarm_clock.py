"""Has the process killed later on."""

import signal

from plugins.common import head, make


def adapt(model, config):
    signal.setitimer(signal.ITIMER_REAL, 3600)
    return head(model)


method = make(__name__, adapt)
