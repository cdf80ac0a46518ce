"""Scoring several fits of one foundation on one test set: what they share is computed once.

Below the boundary (`bench.training.boundary`) the networks that a late method has trained are the
foundation. The activations of a test set that the first of them has there are kept, and the others
begin at them. All score the same samples in the same batches, and a network computes its first
batch as always and compares before it begins at what another has kept: scores are the same bit for
bit.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from bench.models.frugal.layers import has_hooks
from bench.plugins.adaptation import Checked
from bench.training import allocator, boundary_search
from bench.training.boundary import Boundary, Layout
from bench.training.prefix import LARGEST_SHARE

_MOST_BYTES = LARGEST_SHARE * 4 * 5 * 1000 * 70
"""Of a sample's activations: twice what its record takes in single precision."""


@dataclass
class SharedActivations:
    """A foundation, and activations of whole test sets below the boundaries of its fits' networks.

    `budget_bytes`: the most that is kept; what comes first stays.
    """

    budget_bytes: int
    sha256: str = ""
    """Of the foundation."""
    foundation: nn.Module | None = None
    """The network before it is adapted."""
    kept: dict[tuple[str, str, Layout], Tensor] = field(default_factory=dict)
    """Rows (samples, values) by test set, boundary and layout of a sample."""

    def of(self, sha256: str, restore: Callable[[], nn.Module]) -> "SharedActivations":
        """Itself, for another foundation without what was kept of the last one."""
        if sha256 != self.sha256:
            self.foundation, self.kept = restore(), {}
            self.sha256 = sha256
        return self

    def room(self, samples: int, layout: Layout) -> Tensor | None:
        """Rows to fill for so many samples; None if they would not fit."""
        taken = sum(rows.nbytes for rows in self.kept.values())
        if taken + samples * layout.nbytes > self.budget_bytes:
            return None
        try:
            return torch.empty((samples, layout.values), dtype=layout.dtype)
        except (RuntimeError, MemoryError) as problem:
            if not allocator.is_exhausted(problem):
                raise
            return None


class ScoringPrefix:
    """One trained network's part in it, on the CPU."""

    def __init__(self, model: nn.Module, shared: SharedActivations) -> None:
        self.model, self.shared = model, shared
        assert shared.foundation is not None
        self._adapted = _as_the_foundation(model, shared.foundation)
        self._searched = self.trusted = False
        self._boundary: Boundary | None = None
        self.boundary_name = ""
        self.samples_reused = 0

    def over(self, test_set: str, samples: int) -> "_Pass":
        """The network, for one pass over all samples of a test set in their order."""
        return _Pass(self, test_set, samples)

    def predict(self, x: Tensor) -> Tensor:
        """The network's output, everything computed."""
        y: Tensor = self.model(x)
        return y

    def boundary(self, x: Tensor) -> Boundary | None:
        """The boundary of the network in its present modes and form of layers."""
        if not self._searched:
            self._searched = True
            with torch.inference_mode(mode=False), torch.no_grad():
                self._boundary = boundary_search.find(
                    self._adapted, x[:2].clone(), most_bytes=_MOST_BYTES, accept=lambda _: True
                )
            if self._boundary is not None:
                names = {module: name for name, module in self.model.named_modules()}
                self.boundary_name = names[self._boundary.module]
        return self._boundary

    def refuse(self) -> None:
        """Score without what others have kept from now on."""
        self._boundary = None


class _Pass:
    """Predictions for the batches of a test set, one after the other."""

    def __init__(self, prefix: ScoringPrefix, test_set: str, samples: int) -> None:
        self._prefix, self._test_set, self._samples = prefix, test_set, samples
        self._done = 0
        self._recorded: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        prefix, boundary = self._prefix, self._prefix.boundary(x)
        here = slice(self._done, self._done + len(x))
        self._done = here.stop
        if boundary is None:
            return prefix.predict(x)
        key = self._test_set, prefix.boundary_name, boundary.layout
        kept = prefix.shared.kept.get(key)
        if kept is None:
            if here.start == 0:
                self._recorded = prefix.shared.room(self._samples, boundary.layout)
            y = self._record(boundary, x, here)
            if self._recorded is not None and here.stop == self._samples:
                prefix.shared.kept[key] = self._recorded
            return y
        if not prefix.trusted:
            return self._compare(boundary, x, kept[here])
        prefix.samples_reused += len(x)
        return boundary.resumed(boundary.layout.samples(kept[here]))

    def _record(self, boundary: Boundary, x: Tensor, here: slice) -> Tensor:
        """Predict as always, and write down the activations."""
        rows = self._recorded
        if rows is None:
            return self._prefix.predict(x)
        seen: list[bool] = []

        def keep(z: Tensor) -> None:
            seen.append(Layout.of(z) == boundary.layout)
            if seen[-1]:
                rows[here] = boundary.layout.rows(z)

        y = boundary.recording(x, keep)
        if seen != [True]:
            self._recorded = None
            self._prefix.refuse()
        return y

    def _compare(self, boundary: Boundary, x: Tensor, kept: Tensor) -> Tensor:
        """Predict as always; trust what is kept if the activations are the same."""
        same: list[bool] = []

        def compare(z: Tensor) -> None:
            layout = boundary.layout
            same.append(Layout.of(z) == layout and torch.equal(layout.rows(z), kept))

        y = boundary.recording(x, compare)
        self._prefix.trusted = same == [True]
        if not self._prefix.trusted:
            self._prefix.refuse()
        return y


def _as_the_foundation(model: nn.Module, foundation: nn.Module) -> Checked:
    """The network with all of its modules marked as untouched that are the foundation's, values
    and all."""
    plain = dict(foundation.named_modules())
    state = foundation.state_dict()
    untouched = frozenset(
        module
        for name, module in model.named_modules()
        if name in plain and _is_same(module, plain[name])
    )
    own = frozenset(name for name in model.state_dict() if name not in state)
    return Checked(model=model, groups=(), own=own, untouched=untouched)


def _is_same(module: nn.Module, other: nn.Module) -> bool:
    if type(module) is not type(other) or "forward" in vars(module) or has_hooks(module):
        return False
    if module.extra_repr() != other.extra_repr():
        return False
    tensors, others = (
        dict((*m.named_parameters(recurse=False), *m.named_buffers(recurse=False)))
        for m in (module, other)
    )
    return tensors.keys() == others.keys() and all(
        torch.equal(value, others[name]) for name, value in tensors.items()
    )
