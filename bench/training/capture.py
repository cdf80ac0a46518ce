"""Training steps as CUDA graphs: one launch a step instead of some hundred."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.training.prefix import FrozenPrefix

Step = Callable[[Tensor, Tensor], Tensor]
"""Scaled records and maps of a batch → the detached loss, on the device."""

_EAGER_STEPS = 3
"""Steps of each shape before it is captured: cuDNN chooses kernels, AdamW makes its state."""


@dataclass(frozen=True)
class _Captured:
    graph: torch.cuda.CUDAGraph
    x: Tensor
    y: Tensor
    loss: Tensor


class CapturedSteps:
    """A training step that is recorded once for each shape of batch, and replayed from then on.

    A GPU waits for Python where the network is small. The first steps of a shape run as they are,
    so does a step that cannot be captured (one that looks at a value on the GPU, say), and what
    they compute is the same. Whatever the step reads besides its batch must stay where it is in
    memory for as long as this object is used.
    """

    def __init__(self, step: Step, prefix: FrozenPrefix | None = None) -> None:
        """`prefix`: where batches come from, if they may hold activations in place of records."""
        self._step, self._prefix = step, prefix
        self._seen: Counter[tuple[object, ...]] = Counter()
        self._captured: dict[tuple[object, ...], _Captured] = {}
        self._works = True

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Do a step; the loss is valid until the next one."""
        if self._prefix is not None and self._prefix.recording:
            return self._step(x, y)  # a replayed graph would keep no activations
        reused = self._prefix is not None and self._prefix.reused
        key = (reused, x.shape, x.stride(), x.dtype, y.shape, y.stride(), y.dtype)
        known = self._captured.get(key)
        if known is None:
            self._seen[key] += 1
            if not self._works or self._seen[key] <= _EAGER_STEPS:
                return self._step(x, y)
            try:
                known = self._captured[key] = self._capture(x, y)
            except RuntimeError:
                self._works = False
                return self._step(x, y)
        known.x.copy_(x)
        known.y.copy_(y)
        known.graph.replay()
        return known.loss

    def _capture(self, x: Tensor, y: Tensor) -> _Captured:
        """Record a step without doing it."""
        x, y = x.clone(), y.clone()
        graph = torch.cuda.CUDAGraph()
        # Threads that read data may allocate meanwhile
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            loss = self._step(x, y)
        return _Captured(graph, x, y, loss)
