"""Leaves a thread behind."""

import threading
import time

from plugins.common import head, make


def adapt(model, config):
    threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
    return head(model)


method = make(__name__, adapt)
