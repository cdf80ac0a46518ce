"""Boards: records of one track, backbone and fingerprint; their methods and fits."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.protocol.spec import Rules, Track
from bench.records.record import Cell, MethodCard
from leaderboard.entries import FOUNDATION, BoardKey, Entry
from leaderboard.samples import Scores
from leaderboard.views import Fit, View

OPPONENT = "fft"
"""The method that gains are measured against, as in the paper."""


@dataclass(frozen=True)
class Variant:
    """A method as it ran: one name, package, version, code and config."""

    key: str
    label: str
    index: int
    """Its colour and sign, the same on all boards and pages of a site."""
    entries: tuple[Entry, ...]

    @property
    def card(self) -> MethodCard:
        return self.entries[0].card

    @cached_property
    def fits(self) -> dict[tuple[Fit, int], Entry]:
        """Finished fits on one dataset that are scored on test data, by fit and seed."""
        return {
            (Fit(e.datasets[0], e.percent), e.seed): e
            for e in self.entries
            if e.status == "done" and e.part == "test" and len(e.datasets) == 1
        }

    @cached_property
    def _seeds_of(self) -> dict[Fit, tuple[int, ...]]:
        found: dict[Fit, list[int]] = defaultdict(list)
        for fit, seed in self.fits:
            found[fit].append(seed)
        return {fit: tuple(sorted(seeds)) for fit, seeds in found.items()}

    @cached_property
    def _tested(self) -> dict[tuple[Fit, str], set[int]]:
        """Seeds of each cell."""
        found: dict[tuple[Fit, str], set[int]] = defaultdict(set)
        for (fit, seed), entry in self.fits.items():
            for test in entry.cells:
                found[fit, test].add(seed)
        return found

    def seeds_of(self, fit: Fit) -> tuple[int, ...]:
        """Seeds with which this fit is done."""
        return self._seeds_of.get(fit, ())

    def seeds(self, view: View) -> tuple[int, ...]:
        """Seeds with every cell of the protocol: means over fewer cells are not comparable."""
        return tuple(sorted(set.intersection(*(self._tested.get(c, set()) for c in view.cells))))

    def cell(self, fit: Fit, test: str, seed: int) -> Cell | None:
        entry = self.fits.get((fit, seed))
        return entry.cells.get(test) if entry else None

    @property
    def failed(self) -> tuple[Entry, ...]:
        return tuple(e for e in self.entries if e.status != "done")

    @property
    def published(self) -> bool:
        return all(e.origin == "published" for e in self.entries)


@dataclass(frozen=True)
class Board:
    """One leaderboard."""

    key: BoardKey
    track: Track
    rules: Rules
    entries: tuple[Entry, ...]
    variants: tuple[Variant, ...]
    """Methods with fits scored on test data, by label."""
    sweeps: dict[str, tuple[Entry, ...]]
    """Fits scored on validation data, by method name."""
    foundations: tuple[Entry, ...]
    foundation: Variant | None
    """The foundations as a method that is fitted on each pretraining dataset."""
    scores: Mapping[str, Scores] = field(repr=False)
    """Per-sample scores by run id, where known."""

    @property
    def title(self) -> str:
        return f"{self.key.track} · {self.key.backbone}"

    @cached_property
    def fits(self) -> frozenset[Fit]:
        """What any method was fitted on."""
        return frozenset(fit for variant in self.variants for fit, _ in variant.fits)

    @cached_property
    def opponent(self) -> Variant | None:
        """The variant named `OPPONENT` that has the most fits."""
        named = [v for v in self.variants if v.entries[0].name == OPPONENT]
        return max(named, key=lambda v: len(v.fits), default=None)

    @cached_property
    def machine(self) -> str | None:
        """The machine of most fits: only its timings are compared."""
        machines = Counter(e.machine for v in self.variants for e in v.fits.values())
        return min(machines, key=lambda m: (-machines[m], m), default=None)

    @property
    def local(self) -> int:
        """Records that are not published."""
        return sum(e.origin == "local" for e in self.entries)

    @property
    def newest(self) -> str:
        return max(e.started for e in self.entries)

    def has_samples(self, variant: Variant, fit: Fit, test: str, seeds: Sequence[int]) -> bool:
        """Whether per-sample scores of a cell are known for all seeds."""
        runs = [variant.fits.get((fit, seed)) for seed in seeds]
        return all(e is not None and test in self.scores.get(e.run_id, {}) for e in runs)

    def samples(
        self, variant: Variant, fit: Fit, test: str, seeds: Sequence[int]
    ) -> npt.NDArray[np.float32] | None:
        """Per-sample scores (seed, metric, sample) of one cell; None if any are unknown."""
        found = []
        for seed in seeds:
            entry = variant.fits.get((fit, seed))
            scores = self.scores.get(entry.run_id, {}).get(test) if entry else None
            if scores is None:
                return None
            found.append(scores)
        if not found or len({array.shape for array in found}) != 1:
            return None
        return np.stack(found)


def gather(
    entries: Sequence[Entry],
    protocols: Mapping[BoardKey, tuple[Track, Rules]],
    scores: Mapping[str, Scores],
) -> list[Board]:
    """Boards, the one with the most records of one's own first; then the largest published one."""
    groups: dict[BoardKey, list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.board].append(entry)
    labels = _labels(entries)
    order = {key: i for i, key in enumerate(sorted(labels, key=lambda k: (labels[k].lower(), k)))}
    boards = [_board(key, groups[key], *protocols[key], labels, order, scores) for key in groups]
    return sorted(boards, key=lambda b: (-b.local, -len(b.entries), b.key))


def _board(
    key: BoardKey,
    entries: Sequence[Entry],
    track: Track,
    rules: Rules,
    labels: Mapping[str, str],
    order: Mapping[str, int],
    scores: Mapping[str, Scores],
) -> Board:
    by_variant: dict[str, list[Entry]] = defaultdict(list)
    sweeps: dict[str, list[Entry]] = defaultdict(list)
    foundations = []
    for entry in sorted(entries, key=lambda e: (e.datasets, e.percent, e.seed, e.run_id)):
        if entry.method is None:
            foundations.append(entry)
        elif entry.part == "validation":
            sweeps[entry.name].append(entry)
        else:
            by_variant[entry.variant].append(entry)
    variants = tuple(
        Variant(k, labels[k], order[k], tuple(by_variant[k]))
        for k in sorted(by_variant, key=lambda k: order[k])
    )
    return Board(
        key,
        track,
        rules,
        tuple(entries),
        variants,
        {name: tuple(sweeps[name]) for name in sorted(sweeps)},
        tuple(foundations),
        _foundation(foundations, len(order)),
        scores,
    )


def _foundation(entries: Sequence[Entry], index: int) -> Variant | None:
    done = [e for e in entries if e.status == "done" and e.part == "test"]
    alone = tuple(replace(e, datasets=(dataset,)) for e in done for dataset in e.cells)
    return Variant(FOUNDATION, FOUNDATION, index, alone) if alone else None


def _labels(entries: Iterable[Entry]) -> dict[str, str]:
    """The method's name, with what sets it apart from others of that name."""
    kinds: dict[str, dict[str, Entry]] = defaultdict(dict)
    for entry in entries:
        if entry.method and entry.part == "test":
            kinds[entry.name].setdefault(entry.variant, entry)
    labels = {}
    for name, variants in kinds.items():
        for key, entry in variants.items():
            marks = _marks(entry, list(variants.values()))
            labels[key] = " ".join((name, *marks))
    return labels


def _marks(entry: Entry, rivals: Sequence[Entry]) -> list[str]:
    method = entry.method
    if method is None or len(rivals) == 1:
        return []
    configs: list[dict[str, Any]] = [r.method.config for r in rivals if r.method]
    options = sorted({key for c in configs for key in c})
    marks = [
        f"{key}={method.config[key]}"
        for key in options
        if key in method.config and len({repr(c.get(key)) for c in configs}) > 1
    ]
    for word in ("distribution", "version", "code"):
        if len({getattr(r.method, word) for r in rivals if r.method}) > 1:
            value = str(getattr(method, word))
            marks.append(f"{word} {value[:7]}" if word == "code" else f"{word} {value}")
    return marks
