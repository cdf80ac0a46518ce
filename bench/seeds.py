"""Named seeds: hash (base, purpose, …), never the method, so that all methods see the same data."""

import hashlib


def derive(base: int, *purpose: str | int) -> int:
    """A seed in [0, 2⁶³) for one purpose, such as ``derive(seed, "batches", dataset, percent)``."""
    text = "/".join(map(str, (base, *purpose)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch on every device: the one place where a run is seeded."""
    import random

    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  # plugins may use the global generator
    torch.manual_seed(seed)
