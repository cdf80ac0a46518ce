"""Float32 or bfloat16 on a processor: which is faster for the layers that a network really has.

What a processor says of itself does not decide it: some of those that know bfloat16 multiply it
more slowly than float32 (docs/LOG.md).
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from pydantic import PositiveFloat
from torch import Tensor, nn

from bench.models import backbones
from bench.protocol import survey
from bench.protocol.spec import Count, Frozen

MARGIN = 1.2
"""bfloat16 is chosen if it is at least this many times as fast: it is less exact, and closer to 1
the measurement could come out the other way next time."""
_SAMPLED_LAYERS = 8
_MOST_OPERATIONS = 20e9
"""Operations of one turn in one precision at most; larger batches are cut. 0.2 s at 100 GFLOP/s."""
_SECONDS, _LEAST_TURNS = 0.6, 2
"""How long turns are repeated at least, and how often."""
_PATIENCE_SECONDS = 2.0
"""Time after which one turn is enough."""
_HOPELESS, _HOPELESS_LAYERS = 4.0, 2
"""The measurement ends when float32 has computed so many layers this many times as fast for one
sample: a processor without bfloat16 emulates it, which may take minutes."""
_SHORTEST_SECONDS = 0.005
"""What takes less is not told from what else a call costs."""


class LayerTiming(Frozen):
    """Processor time of one layer's forward and backward passes in both precisions."""

    layer: str
    operations: PositiveFloat
    """Floating-point operations, additions included."""
    float32_seconds: PositiveFloat
    bfloat16_seconds: PositiveFloat


class PrecisionTiming(Frozen):
    """Layers of a network in both precisions; each stands for an equal part of the whole work."""

    batch: Count
    layers: tuple[LayerTiming, ...]

    @property
    def speedup(self) -> float:
        """Speed in bfloat16 relative to float32, over the work of the whole network."""
        float32 = sum(layer.float32_seconds / layer.operations for layer in self.layers)
        return float32 / sum(layer.bfloat16_seconds / layer.operations for layer in self.layers)

    @property
    def bfloat16_wins(self) -> bool:
        """Whether bfloat16 is faster by `MARGIN`."""
        return self.speedup >= MARGIN


@dataclass(frozen=True, kw_only=True)
class LayerCall:
    """A call of a layer in a forward pass of one sample."""

    layer: nn.Module
    shape: tuple[int, ...]
    """Shape of the input."""
    products: float
    """Multiplications of the forward pass."""


def measure(backbone: str, *, batch: int) -> PrecisionTiming:
    """Time a few layers of a backbone on this processor, for a second or two.

    One thread is timed, by the processor's time, and calls in the two precisions take turns, of
    which the fastest counts: so the ratio hardly depends on what else runs on the machine, and
    holds for every number of threads. `batch` is that of the training; less is taken where that
    would take too long. Raises what `backbones.build` raises. Random numbers drawn later are the
    same.
    """
    with torch.random.fork_rng(devices=[]):
        network = backbones.build(backbone).eval()
    nn.Module.to(network, memory_format=torch.channels_last)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.enable_grad():
            return _timing(representative(calls(network)), batch)
    finally:
        torch.set_num_threads(threads)


def calls(network: nn.Module) -> list[LayerCall]:
    """The calls of convolutions, transposed convolutions and linear layers, in the order of a
    forward pass; that of the whole network where it has none of them."""
    from torch.utils.flop_counter import FlopCounterMode  # imports triton, a quarter of a second

    layers: list[LayerCall] = []

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        # Each element of the output takes a row of the weight, each that a transposed one spreads
        elements = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
        products = elements.numel() * prod(layer.get_parameter("weight").shape[1:])
        layers.append(LayerCall(layer=layer, shape=tuple(inputs[0].shape), products=products))

    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    hooks = [m.register_forward_hook(note) for m in network.modules() if isinstance(m, kinds)]
    shape = (1, *survey.RECORD_SHAPE)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(shape))
    for hook in hooks:
        hook.remove()
    whole = LayerCall(layer=network, shape=shape, products=max(1, counter.get_total_flops() / 2))
    return layers or [whole]


def representative(calls: Sequence[LayerCall]) -> list[LayerCall]:
    """Calls at equal distances along the work, so that each stands for as much of it; one that is
    much of the work may be there several times."""
    total = sum(call.products for call in calls)
    wanted = [(n + 0.5) / _SAMPLED_LAYERS * total for n in range(_SAMPLED_LAYERS)]
    chosen, done = [], 0.0
    for call in calls:
        done += call.products
        while wanted and wanted[0] <= done:
            chosen.append(call)
            wanted.pop(0)
    return chosen


def _timing(calls: Sequence[LayerCall], batch: int) -> PrecisionTiming:
    # Two operations a product; the backward pass has two products for each, for both gradients
    operations = [6 * call.products for call in calls]
    batch = max(1, min(batch, int(_MOST_OPERATIONS / sum(operations))))
    begin = time.perf_counter()
    # One sample, the least work first, and twice: the first call has the kernels loaded
    probed: dict[LayerCall, tuple[float, float]] = {}
    hopeless = 0
    work = dict(zip(calls, operations, strict=True))
    for call in sorted(work, key=work.__getitem__):
        float32, bfloat16 = probed[call] = (
            min(_seconds(call, 1, bfloat16=False) for _ in range(2)),
            min(_seconds(call, 1, bfloat16=True) for _ in range(2)),
        )
        hopeless += bfloat16 > _HOPELESS * max(float32, _SHORTEST_SECONDS)
        if hopeless == min(_HOPELESS_LAYERS, len(work)):
            done = [work[call] for call in probed]
            return _fastest(list(probed), done, 1, [list(probed.values())])
    turns: list[list[tuple[float, float]]] = []
    while True:
        turns.append(
            [(_seconds(c, batch, bfloat16=False), _seconds(c, batch, bfloat16=True)) for c in calls]
        )
        spent = time.perf_counter() - begin
        if spent > _PATIENCE_SECONDS or (spent > _SECONDS and len(turns) >= _LEAST_TURNS):
            return _fastest(calls, operations, batch, turns)


def _fastest(
    calls: Sequence[LayerCall],
    operations: Sequence[float],
    batch: int,
    turns: Sequence[Sequence[tuple[float, float]]],
) -> PrecisionTiming:
    """The fastest turn of each call in each precision."""
    timings = [
        LayerTiming(
            layer=_describe(call),
            operations=batch * count,
            float32_seconds=min(seconds[0] for seconds in times),
            bfloat16_seconds=min(seconds[1] for seconds in times),
        )
        for call, count, times in zip(calls, operations, zip(*turns, strict=True), strict=False)
    ]
    return PrecisionTiming(batch=batch, layers=tuple(timings))


def _describe(call: LayerCall) -> str:
    layer, size = call.layer, "×".join(map(str, call.shape[1:]))
    shape = "×".join(map(str, next(layer.parameters()).shape))
    return f"{type(layer).__name__} {shape} on {size}"


def _seconds(call: LayerCall, batch: int, *, bfloat16: bool) -> float:
    """Processor time of a forward and a backward pass, with weights in float32 as in training."""
    x = torch.ones((call.shape[0] * batch, *call.shape[1:]))
    if bfloat16:
        x = x.bfloat16()
    if x.ndim == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    wanted = [x.requires_grad_(), *call.layer.parameters()]
    begin = time.thread_time()
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        out: Tensor = call.layer(x)
    torch.autograd.grad(out, wanted, torch.ones_like(out))
    return time.thread_time() - begin
