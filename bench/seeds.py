"""Named seeds: hash of (base, purpose, …), never of the method, so that all see the same data."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager


def derive(base: int, *purpose: str | int) -> int:
    """A seed in [0, 2⁶³) for one purpose, such as ``derive(seed, "batches", dataset, percent)``."""
    text = "/".join(map(str, (base, *purpose)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, everything is seeded as `seed_everything` does; the generators go on as before
    afterwards, those of GPUs apart."""
    import random

    import numpy as np
    import torch

    before = random.getstate(), np.random.get_state()  # noqa: NPY002  # the global generator
    with torch.random.fork_rng(devices=[]):
        seed_everything(seed)
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])  # noqa: NPY002


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch on every device: the one place where a run is seeded."""
    import random

    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  # plugins may use the global generator
    torch.manual_seed(seed)
