"""All settings of the process that plugins share, as they were at one moment."""

import threading
import warnings
from collections.abc import Sequence
from typing import Any

from bench.isolation.process_settings import PROCESS
from bench.isolation.torch_settings import TORCH

SETTINGS = (*TORCH, *PROCESS)


class Settings:
    """The values of all settings, as they were when this was made."""

    def __init__(self) -> None:
        self._before = [(setting, setting.read()) for setting in SETTINGS]
        self._filters = list(warnings.filters)
        self._threads = _foreign_threads()

    def restore(self) -> list[str]:
        """Bring the settings back that have changed; their names."""
        changed = []
        for setting, before in self._before:
            if setting.read() != before:
                setting.write(before)
                changed.append(setting.name)
        if self._restore_filters():
            changed.append("the warning filters")
        if _foreign_threads() - self._threads:
            changed.append("the running threads (one of its own still runs)")
        return changed

    def _restore_filters(self) -> bool:
        """Whether filters are gone, or new ones are so broad that they are about everybody's
        warnings; libraries may add some about warnings of their own when they are imported."""
        added = [entry for entry in warnings.filters if entry not in self._filters]
        missing = any(entry not in warnings.filters for entry in self._filters)
        if not missing and not any(_is_broad(entry) for entry in added):
            return False
        warnings.resetwarnings()
        warnings.filters[:] = self._filters  # type: ignore[index]  # a list, whatever the stub says
        return True


def _foreign_threads() -> set[threading.Thread]:
    """All but the harness's readers of data, which end a little after a fit that fails."""
    return {t for t in threading.enumerate() if not t.name.startswith("bench-")}


def _is_broad(entry: Sequence[Any]) -> bool:
    _, message, category, module, _ = entry
    return message is None and module is None and category.__module__ == "builtins"
