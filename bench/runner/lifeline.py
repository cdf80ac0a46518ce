"""Child processes that end with their parent, however it ends."""

import os
import signal
import sys
import threading


def hold() -> None:
    """End this process by SIGTERM as soon as its standard input, a pipe, is closed.

    The system closes a pipe when the process at its other end is gone, even by SIGKILL.
    """
    threading.Thread(target=_wait, daemon=True).start()


def _wait() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
