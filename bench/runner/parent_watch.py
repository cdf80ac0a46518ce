"""Child processes that end with their parent, however it ends."""

import os
import signal
import threading


def end_with_parent() -> None:
    """End this process by SIGTERM as soon as its standard input, a pipe, is closed.

    The system closes a pipe when the process at its other end is gone, even by SIGKILL.
    """
    threading.Thread(target=_wait, name="bench-parent", daemon=True).start()


def _wait() -> None:
    while os.read(0, 1):  # not `sys.stdin`, whose lock would abort the exit of the process
        pass
    os.kill(os.getpid(), signal.SIGTERM)
