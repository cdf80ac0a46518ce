"""Named seeds: hash of (base, purpose, …), never of the method, so that all see the same data."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


def derive(base: int, *purpose: str | int) -> int:
    """A seed in [0, 2⁶³) for one purpose, such as ``derive(seed, "batches", dataset, percent)``."""
    text = "/".join(map(str, (base, *purpose)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, everything is seeded as `seed_everything` does; the generators go on as before
    afterwards, those of GPUs apart."""
    with preserved():
        seed_everything(seed)
        yield


@contextmanager
def preserved(gpus: Sequence[int] = ()) -> Iterator[None]:
    """Context after which the generators go on as before, those of these GPUs included."""
    import random

    import numpy as np
    import torch

    before = random.getstate(), np.random.get_state()  # noqa: NPY002  # the global generator
    with torch.random.fork_rng(devices=list(gpus)):
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])  # noqa: NPY002


def state(gpus: Sequence[int] = ()) -> tuple[object, ...]:
    """What the generators will draw next, those of these GPUs included, to be compared."""
    import random

    import numpy as np
    import torch

    numpy_state = [
        part.tobytes() if isinstance(part, np.ndarray) else part
        for part in np.random.get_state()  # noqa: NPY002  # the global generator
    ]
    tensors = [torch.get_rng_state(), *(torch.cuda.get_rng_state(gpu) for gpu in gpus)]
    return random.getstate(), *numpy_state, *(t.numpy().tobytes() for t in tensors)


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch on every device: the one place where a run is seeded."""
    import random

    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  # plugins may use the global generator
    torch.manual_seed(seed)
