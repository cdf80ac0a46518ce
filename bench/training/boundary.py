"""The boundary between what a method leaves alone in the network and what it trains.

A late method such as a linear probe (Kornblith et al. 2018, arXiv:1805.08974) trains on features
that are the same in every epoch; a training step may as well begin at these.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from bench.contract import INPUT_SHAPE

Forward = Callable[[Tensor], Tensor]


class _ReachedError(Exception):
    """Ends a forward pass at the boundary; it reports no fault."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Shape, type and place in memory of a tensor's samples, (n, …), one after the other."""

    shape: tuple[int, ...]
    """Shape of one sample."""
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
    """Layout of the module's output."""
    skipped: Mapping[nn.Module, Layout]
    """Outermost modules that are called before it, and the layouts of their outputs."""

    def recording(self, x: Tensor, keep: Callable[[Tensor], None]) -> Tensor:
        """The network's output for records x (n, 5, 1000, 70); `keep` gets the activations."""

        def forward(original: Callable[..., Tensor], *inputs: Any, **options: Any) -> Tensor:
            z = original(*inputs, **options)
            keep(z)
            return z

        with replaced({self.module: partial(forward, self.module.forward)}):
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
        with replaced(forwards | {self.module: _given(z)}):
            y: Tensor = self.model(_nan(z, record))
        return y

    def fixed(self) -> tuple[Tensor, ...]:
        """Parameters and buffers from which the activations are computed."""
        modules = [self.module, *self.skipped]
        return tuple(t for m in modules for t in (*m.parameters(), *m.buffers()))


@contextmanager
def replaced(forwards: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
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


def _given(value: Tensor) -> Callable[..., Tensor]:
    return lambda *inputs, **options: value


def _nan(like: Tensor, layout: Layout) -> Tensor:
    """A tensor of as many samples as `like` that takes the memory of one number."""
    nan = torch.full((), torch.nan, dtype=layout.dtype, device=like.device)
    return nan.expand(len(like), *layout.shape)
