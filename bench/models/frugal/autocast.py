"""The precision in which a forward pass ran, to be had once more in the backward pass."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Autocast:
    """The state of autocast on a kind of device."""

    device: str
    dtype: torch.dtype | None
    """What it casts to; None where it is off."""

    @staticmethod
    def now(device: torch.device) -> "Autocast":
        on = torch.is_autocast_enabled(device.type)
        return Autocast(device.type, torch.get_autocast_dtype(device.type) if on else None)

    def wrap(self, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """The function under this autocast, whatever is on around it."""

        def wrapped(*tensors: Tensor | None) -> Tensor:
            on = self.dtype is not None
            # A cast that is cached without a graph would cost others their gradient.
            with torch.autocast(self.device, self.dtype, enabled=on, cache_enabled=False):
                return function(*tensors)

        return wrapped
