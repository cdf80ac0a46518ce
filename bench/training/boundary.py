"""The boundary between what a method leaves alone in the network and what it trains.

A late method such as a linear probe (Kornblith et al. 2018, arXiv:1805.08974) trains on features
that are the same in every epoch. Where in a network they end is read off a forward pass, so that it
works for any backbone and any plugin. What cannot be shown to be fixed is taken to change.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench import seeds
from bench.contract import INPUT_SHAPE
from bench.models.frugal.activation import fills_memory
from bench.models.frugal.layers import has_hooks
from bench.plugins.adaptation import Checked
from bench.plugins.storages import Storages

Forward = Callable[[Tensor], Tensor]

_TRIES = 8
"""Boundaries that are tried, the latest ones first. Where the skip connections of a U-Net cross
one, they cross its neighbours too."""


class _ReachedError(Exception):
    """Ends a forward pass at the boundary; not an error of anyone's."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Shape, type and place in memory of a tensor's samples, (n, …), one after the other."""

    shape: tuple[int, ...]
    """Of one sample."""
    stride: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, z: Tensor) -> "Layout":
        return cls(shape=tuple(z.shape[1:]), stride=tuple(z.stride()[1:]), dtype=z.dtype)

    @property
    def values(self) -> int:
        """Numbers in a sample."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of a sample."""
        return self.values * self.dtype.itemsize

    def rows(self, z: Tensor) -> Tensor:
        """Samples as rows (n, values), in the order in which they lie in memory; a view."""
        return z.as_strided((len(z), self.values), (self.values, 1))

    def samples(self, rows: Tensor) -> Tensor:
        """The inverse of `rows`."""
        return rows.as_strided((len(rows), *self.shape), (self.values, *self.stride))


@dataclass(frozen=True, kw_only=True)
class Boundary:
    """The last module whose output is a fixed function of each record."""

    model: nn.Module
    module: nn.Module
    layout: Layout
    """Of the module's output."""
    skipped: Mapping[nn.Module, Layout]
    """What is called before it, at the outermost, and what it returns."""

    def recording(self, x: Tensor, keep: Callable[[Tensor], None]) -> Tensor:
        """The network's output for records x (n, 5, 1000, 70); `keep` gets the activations."""

        def forward(original: Callable[..., Tensor], *inputs: Any, **options: Any) -> Tensor:
            z = original(*inputs, **options)
            keep(z)
            return z

        with _replaced({self.module: partial(forward, self.module.forward)}):
            y: Tensor = self.model(x)
        return y

    def activations(self, x: Tensor) -> Tensor:
        """The module's output for records x (n, 5, 1000, 70); nothing behind it is computed."""
        reached: list[Tensor] = []

        def keep(z: Tensor) -> None:
            reached.append(z)
            raise _ReachedError

        with suppress(_ReachedError):
            self.recording(x, keep)
        return reached[0]

    def resumed(self, z: Tensor) -> Tensor:
        """The network's output where `module` returns z: nothing before it is computed.

        What is skipped returns NaN, so that it would show if anything behind the boundary used it.
        """
        forwards = {module: _given(_nan(z, kept)) for module, kept in self.skipped.items()}
        record = Layout(shape=INPUT_SHAPE, stride=(0, 0, 0), dtype=z.dtype)
        with _replaced(forwards | {self.module: _given(z)}):
            y: Tensor = self.model(_nan(z, record))
        return y

    def fixed(self) -> tuple[Tensor, ...]:
        """Parameters and buffers from which the activations are computed."""
        modules = [self.module, *self.skipped]
        return tuple(t for m in modules for t in (*m.parameters(), *m.buffers()))


def find(
    adapted: Checked, x: Tensor, *, most_bytes: int, accept: Callable[[Boundary], bool]
) -> Boundary | None:
    """The latest boundary whose activations take `most_bytes` a sample at most and that is
    accepted; None if there is none.

    Run in the modes, the autocast and the form of the layers in which the network is trained, on
    two records or more as the network gets them. Leaves buffers and random generators as they are.
    """
    if not _worth_a_look(adapted):
        return None
    devices = [x.device.index or 0] if x.is_cuda else []
    with _same_buffers(adapted.model) as moved:
        with seeds.preserved(devices):
            calls, expected = _trace(adapted.model, x, devices)
        found = candidates(adapted, calls, len(x), moved())
        fitting = [b for b in reversed(found) if b.layout.nbytes <= most_bytes]
        outputs = {call.module: call.output for call in calls}
        for boundary in fitting[:_TRIES]:
            z = outputs[boundary.module]
            assert isinstance(z, Tensor)
            with seeds.preserved(devices):
                same = _ends_alike(boundary, z.clone(), expected)
            if same and accept(boundary):
                return boundary
    return None


def _ends_alike(boundary: Boundary, z: Tensor, expected: Tensor) -> bool:
    """Whether the network gives the expected output from activations alone."""
    try:
        return torch.equal(boundary.resumed(z), expected)
    except Exception:  # code of a backbone may do anything with the NaN that it gets
        return False


def layouts(adapted: Checked, x: Tensor) -> list[Layout]:
    """What the boundaries of a network would keep, the latest one last; x as for `find`.

    The network may be on the meta device, where nothing can be compared: a boundary may turn out
    not to be one.
    """
    if not _worth_a_look(adapted):
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
    """Of the output when it was returned, which later changes in place raise."""
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
    found: list[tuple[Call, Boundary]] = []
    for number, call in enumerate(calls):
        if not changing.isdisjoint(call.module.modules()):
            break  # whatever ends later may have seen what it computed
        if times[call.module] > 1 or call.random or not _fixed_way(call, adapted, changing, moved):
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
        if found and found[-1][0].output is call.output:
            found.pop()  # what calls a module and returns its output
        found.append((call, boundary))
    return [boundary for _, boundary in found]


def _worth_a_look(adapted: Checked) -> bool:
    """Whether any module with weights stays as it is; most methods change all of them."""
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


def _fixed_way(
    call: Call, adapted: Checked, changing: set[nn.Module], moved: set[nn.Module]
) -> bool:
    """Whether what leads to a call, in the modules that make it, is fixed too.

    Trained parameters that these use by themselves are not looked for: the output would require a
    gradient. The layers of a sequence need not be called one by one (`bench.models.frugal`).
    """
    for parent, child in zip(call.parents, (*call.parents[1:], call.module), strict=True):
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

    with _replaced({m: partial(traced, m, m.forward) for m in model.modules()}):
        y: Tensor = model(x)
    return calls, y


@contextmanager
def _replaced(forwards: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Context in which modules have another `forward`, whatever they had before."""
    before = {module: vars(module).get("forward") for module in forwards}
    try:
        for module, forward in forwards.items():
            vars(module)["forward"] = forward
        yield
    finally:
        for module, own in before.items():
            if own is None:
                vars(module).pop("forward", None)
            else:
                vars(module)["forward"] = own


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


def _given(value: Tensor) -> Callable[..., Tensor]:
    return lambda *inputs, **options: value


def _nan(like: Tensor, layout: Layout) -> Tensor:
    """A tensor of as many samples as `like` that takes the memory of one number."""
    nan = torch.full((), torch.nan, dtype=layout.dtype, device=like.device)
    return nan.expand(len(like), *layout.shape)
