"""Scoring several fits of one foundation on one test set: what they share is computed once.

Below the boundary (`bench.training.boundary`) the networks that a late method has trained are the
foundation. The activations of a test set that the first of them has there are kept, and the others
begin at them. All score the same samples in the same batches, and a network computes its first
batch as always and compares before it begins at what another has kept: scores are the same bit for
bit.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from bench.models.frugal.layers import has_hooks
from bench.plugins.adaptation import Checked
from bench.training import boundary_search
from bench.training.boundary import Boundary, Layout
from bench.training.prefix import LARGEST_SHARE

_MOST_BYTES = LARGEST_SHARE * 4 * 5 * 1000 * 70
"""Of a sample's activations: twice what its record takes in single precision."""


@dataclass
class SharedActivations:
    """Activations of whole test sets below the boundaries of one foundation's networks.

    `budget_bytes`: the most that is kept, on the device; what comes first stays.
    """

    budget_bytes: int
    foundation: str = ""
    """Hash of the foundation."""
    kept: dict[tuple[str, str, Layout], Tensor] = field(default_factory=dict)
    """Rows (samples, values) by test set, boundary and layout of a sample."""

    def of(self, foundation: str) -> "SharedActivations":
        """Itself, for another foundation without what was kept of the last one."""
        if foundation != self.foundation:
            self.foundation, self.kept = foundation, {}
        return self

    def has_room(self, nbytes: int) -> bool:
        return nbytes + sum(rows.nbytes for rows in self.kept.values()) <= self.budget_bytes


class ScoringPrefix:
    """One network's part in it."""

    def __init__(self, model: nn.Module, foundation: nn.Module, shared: SharedActivations) -> None:
        """`foundation`: the network before it was adapted, on any device."""
        self.model, self.shared = model, shared
        self._adapted = _as_the_foundation(model, foundation)
        self._searched = self.trusted = False
        self._boundary: Boundary | None = None
        self.samples_reused = 0

    def over(self, test_set: str, samples: int) -> "_Pass":
        """The network, for one pass over all samples of a test set in their order."""
        return _Pass(self, test_set, samples)

    def boundary(self, x: Tensor) -> Boundary | None:
        """The boundary of the network in its present modes and form of layers."""
        if not self._searched:
            self._searched = True
            with torch.inference_mode(mode=False), torch.no_grad():
                self._boundary = boundary_search.find(
                    self._adapted, x[:2].clone(), most_bytes=_MOST_BYTES, accept=lambda _: True
                )
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
        boundary = self._prefix.boundary(x)
        here = slice(self._done, self._done + len(x))
        self._done = here.stop
        if boundary is None:
            return self._prefix.model(x)  # type: ignore[no-any-return]
        kept = self._prefix.shared.kept.get(self._key(boundary))
        if kept is None or self._recorded is not None:
            return self._record(boundary, x, here)
        if not self._prefix.trusted:
            return self._compare(boundary, x, kept[here])
        self._prefix.samples_reused += len(x)
        return boundary.resumed(boundary.layout.samples(kept[here]))

    def _key(self, boundary: Boundary) -> tuple[str, str, Layout]:
        names = {module: name for name, module in self._prefix.model.named_modules()}
        return self._test_set, names[boundary.module], boundary.layout

    def _record(self, boundary: Boundary, x: Tensor, here: slice) -> Tensor:
        """Predict as always, and keep the activations once all samples have passed."""
        shared, layout = self._prefix.shared, boundary.layout
        if here.start == 0 and shared.has_room(self._samples * layout.nbytes):
            size = (self._samples, layout.values)
            self._recorded = torch.empty(size, dtype=layout.dtype, device=x.device)
        rows = self._recorded
        if rows is None:
            return self._prefix.model(x)  # type: ignore[no-any-return]
        seen: list[bool] = []

        def keep(z: Tensor) -> None:
            seen.append(Layout.of(z) == layout)
            if seen[-1]:
                rows[here] = layout.rows(z)

        y = boundary.recording(x, keep)
        if seen != [True]:
            self._prefix.refuse()
        elif here.stop == self._samples:
            shared.kept[self._key(boundary)] = rows
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
        torch.equal(value.detach().cpu(), others[name].detach().cpu())
        for name, value in tensors.items()
    )
