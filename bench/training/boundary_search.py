"""Where in an adapted network the boundary is, read off a forward pass.

So it works for any backbone and any plugin. What cannot be shown to be fixed is taken to change:
modules that a method has made, wrapped, hooked or given trained parameters, BatchNorm layers in
training mode, whatever draws random numbers or moves a buffer, and what any of these comes before.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench import seeds
from bench.models.frugal.activation import fills_memory
from bench.models.frugal.layers import has_hooks
from bench.plugins.adaptation import Checked
from bench.plugins.storages import Storages
from bench.training.boundary import Boundary, Layout, replaced

_TRIES = 8
"""Boundaries that are tried, the latest ones first. Where the skip connections of a U-Net cross
one, they cross its neighbours too."""


def find(
    adapted: Checked, x: Tensor, *, most_bytes: int, accept: Callable[[Boundary], bool]
) -> Boundary | None:
    """The latest boundary whose activations take `most_bytes` a sample at most and that is
    accepted; None if there is none.

    Run in the modes, the autocast and the form of the layers in which the network is trained, on
    two records or more as the network gets them. Leaves buffers and random generators as they are.
    """
    if not _may_have_boundary(adapted):
        return None
    devices = [x.device.index or 0] if x.is_cuda else []
    with _same_buffers(adapted.model) as moved:
        with seeds.preserved(devices):
            calls, expected = _trace(adapted.model, x, devices)
        boundaries = candidates(adapted, calls, len(x), moved())
        fitting = [b for b in reversed(boundaries) if b.layout.nbytes <= most_bytes]
        outputs = {call.module: call.output for call in calls}
        for boundary in fitting[:_TRIES]:
            z = outputs[boundary.module]
            assert isinstance(z, Tensor)
            with seeds.preserved(devices):
                same = _gives_same_output(boundary, z.clone(), expected)
            if same and accept(boundary):
                return boundary
    return None


def _gives_same_output(boundary: Boundary, z: Tensor, expected: Tensor) -> bool:
    """Whether the network gives the expected output from activations alone."""
    try:
        return torch.equal(boundary.resumed(z), expected)
    except Exception:  # code of a backbone may do anything with the NaN that it gets
        return False


def layouts(adapted: Checked, x: Tensor) -> list[Layout]:
    """Layouts of the activations at each boundary, the latest one last; x as for `find`.

    The network may be on the meta device, where nothing can be compared: a boundary may turn out
    not to be one.
    """
    if not _may_have_boundary(adapted):
        return []
    with _same_buffers(adapted.model) as moved, seeds.preserved():
        calls, _ = _trace(adapted.model, x, [])
        return [b.layout for b in candidates(adapted, calls, len(x), moved())]


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of a module in a forward pass."""

    module: nn.Module
    parents: tuple[nn.Module, ...]
    """The modules in whose calls it was made, the outermost first."""
    output: object
    version: int
    """Version of the output when it was returned; later changes in place raise it."""
    random: bool
    """Whether random numbers have been drawn before its end."""


def candidates(
    adapted: Checked, calls: list[Call], samples: int, moved: set[nn.Module]
) -> list[Boundary]:
    """Boundaries as far as the calls tell, the latest one last.

    `calls` are those of a forward pass of so many samples, in the order in which they ended;
    `moved` are the modules whose buffers it changed.
    """
    changing = _changing(adapted) | moved
    times = Counter(call.module for call in calls)
    boundaries: list[tuple[Call, Boundary]] = []
    for number, call in enumerate(calls):
        if not changing.isdisjoint(call.module.modules()):
            break  # whatever ends later may have seen what it computed
        if (
            times[call.module] > 1
            or call.random
            or not _is_fixed_up_to(call, adapted, changing, moved)
        ):
            continue
        layout = _layout(call, samples)
        if layout is None:
            continue
        outer = set(call.parents)
        before = {c.module: c for c in calls[:number] if set(c.parents) <= outer}
        once = {m: c for m, c in before.items() if times[m] == 1 and m not in outer}
        kept = {m: _layout(c, samples, plain=False) for m, c in once.items()}
        boundary = Boundary(
            model=adapted.model,
            module=call.module,
            layout=layout,
            skipped={m: known for m, known in kept.items() if known is not None},
        )
        if boundaries and boundaries[-1][0].output is call.output:
            boundaries.pop()  # what calls a module and returns its output
        boundaries.append((call, boundary))
    return [boundary for _, boundary in boundaries]


def _may_have_boundary(adapted: Checked) -> bool:
    """Whether any module with weights stays as it is, which it does not in most methods, and the
    network as a whole is called as it was."""
    if adapted.model not in adapted.untouched or has_hooks(adapted.model):
        return False
    changing = _changing(adapted)
    with_weights = (m for m in adapted.model.modules() if any(True for _ in _tensors(m)))
    return any(module not in changing for module in with_weights)


def _changing(adapted: Checked) -> set[nn.Module]:
    """Modules that may compute something else at the next step, submodules apart."""
    state = adapted.model.state_dict()
    own = Storages(state[name] for name in adapted.own)
    return {
        module
        for module in adapted.model.modules()
        if module not in adapted.untouched
        or has_hooks(module)
        or (isinstance(module, _BatchNorm) and module.training)
        or any(tensor.requires_grad or tensor in own for tensor in _tensors(module))
    }


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    """A module's own parameters and buffers, without those of its submodules."""
    yield from module.parameters(recurse=False)
    yield from module.buffers(recurse=False)


def _is_fixed_up_to(
    call: Call, adapted: Checked, changing: set[nn.Module], moved: set[nn.Module]
) -> bool:
    """Whether what leads to a call, in the modules that make it, is fixed too.

    Trained parameters that these use by themselves are not looked for: the output would require a
    gradient. The layers of a sequence need not be called one by one (`bench.models.frugal`).
    """
    children_called = (*call.parents, call.module)[1:]
    for parent, child in zip(call.parents, children_called, strict=True):
        if parent not in adapted.untouched or has_hooks(parent) or parent in moved:
            return False
        if isinstance(parent, nn.Sequential):
            children = list(parent.children())
            before = children[: children.index(child)] if child in children else children
            if any(not changing.isdisjoint(other.modules()) for other in before):
                return False
    return True


def _layout(call: Call, samples: int, *, plain: bool = True) -> Layout | None:
    """The layout of a call's output, one tensor of samples; None if it is anything else.

    `plain`: it must also lie in memory without gaps, sample by sample, and be left alone.
    """
    z = call.output
    if type(z) is not Tensor or z.dim() < 2 or len(z) != samples or not z.is_floating_point():
        return None
    if z.layout != torch.strided or z.requires_grad:
        return None
    if plain:
        whole = z.stride(0) == z[0].numel() and fills_memory(z)
        if not whole or not z.numel() or z._version != call.version:
            return None
    return Layout.of(z)


def _trace(model: nn.Module, x: Tensor, devices: list[int]) -> tuple[list[Call], Tensor]:
    """The calls of a forward pass in the order in which they end, and its output."""
    start = seeds.state(devices)
    calls: list[Call] = []
    running: list[nn.Module] = []

    def traced(module: nn.Module, forward: Callable[..., Any], *inputs: Any, **options: Any) -> Any:
        running.append(module)
        try:
            output = forward(*inputs, **options)
        finally:
            running.pop()
        calls.append(
            Call(
                module=module,
                parents=tuple(running),
                output=output,
                version=output._version if isinstance(output, Tensor) else 0,
                random=seeds.state(devices) != start,
            )
        )
        return output

    with replaced({m: partial(traced, m, m.forward) for m in model.modules()}):
        y: Tensor = model(x)
    return calls, y


@contextmanager
def _same_buffers(model: nn.Module) -> Iterator[Callable[[], set[nn.Module]]]:
    """Context after which all buffers are as before; yields what tells whose have changed."""
    kept = [
        (m, b, b.clone(), b._version) for m in model.modules() for b in m.buffers(recurse=False)
    ]

    def has_moved(buffer: Tensor, value: Tensor, version: int) -> bool:
        if buffer._version != version or buffer.is_meta:
            return buffer._version != version
        return not torch.equal(buffer, value)

    try:
        yield lambda: {m for m, b, value, version in kept if has_moved(b, value, version)}
    finally:
        with torch.no_grad():
            for _, buffer, value, version in kept:
                if has_moved(buffer, value, version):
                    buffer.copy_(value)
