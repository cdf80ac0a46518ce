"""Reproducibility: whether two runs of one specification agree as far as settings promise."""

from dataclasses import dataclass
from functools import cached_property

from bench.records.record import Execution, Record

RELATIVE = 0.05
"""Allowed where runs cannot be bit-identical."""


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """Largest relative difference allowed between two runs of one specification."""

    relative: float
    reasons: tuple[str, ...]
    """Why it is not zero; empty where the numbers must be bit-identical."""


@dataclass(frozen=True, kw_only=True)
class ScoreDifference:
    """Difference of one score in one cell."""

    test_set: str
    metric: str
    recorded: float
    replayed: float

    @property
    def relative(self) -> float:
        scale = abs(self.recorded)
        gap = abs(self.replayed - self.recorded)
        return gap / scale if scale else gap


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """A recorded run and its repetition."""

    recorded: Record
    replayed: Record

    @cached_property
    def tolerance(self) -> Tolerance:
        """Agreement that the determinism settings and the two machines promise."""
        return tolerance(self.recorded, self.replayed)

    @cached_property
    def differences(self) -> tuple[ScoreDifference, ...]:
        """Every score of every cell that both have, in the versions of the metrics that agree."""
        return tuple(
            ScoreDifference(
                test_set=cell.test_set.name, metric=name, recorded=value, replayed=again
            )
            for cell in self.recorded.cells
            if (other := self.replayed.cell(cell.test_set))
            for name, value in cell.scores.items()
            if value is not None
            and (again := other.scores.get(name)) is not None
            and cell.versions.get(name) == other.versions.get(name)
        )

    @property
    def same_cells(self) -> bool:
        """Whether the record has the cells of its specification, all and no others."""
        return _names(self.recorded) == _names(self.replayed)

    @property
    def same_weights(self) -> bool:
        """Whether the saved weights agree bit for bit."""
        a, b = self.recorded.counts, self.replayed.counts
        return a is not None and b is not None and a.adapter_sha256 == b.adapter_sha256

    @property
    def identical(self) -> bool:
        """Whether all scores and the weights agree bit for bit."""
        return self.same_weights and all(d.recorded == d.replayed for d in self.differences)

    @property
    def agrees(self) -> bool:
        if self.replayed.status != "done" or not self.same_cells or not self.differences:
            return False
        if not self.tolerance.reasons:
            return self.identical
        return all(d.relative <= self.tolerance.relative for d in self.differences)

    @property
    def verdict(self) -> str:
        """One sentence: whether the numbers agree, and how far they could be expected to."""
        if self.replayed.status != "done":
            return f"Disagrees: the replay is {self.replayed.status}: {self.replayed.error}"
        if not self.same_cells:
            return "Disagrees: the record's cells are not those of its specification."
        if not self.differences:
            return "Disagrees: no metric has the version that it has in the record."
        if self.identical:
            return "Agrees bit for bit, scores and weights."
        if not self.tolerance.reasons:
            return (
                "Disagrees: the same kind of CPU, threads and versions promise bit-identical "
                "scores and weights, and these are not."
            )
        largest = max(difference.relative for difference in self.differences)
        return (
            f"{'Agrees' if self.agrees else 'Disagrees'}: the largest relative difference is "
            f"{largest:.2g}, allowed is {self.tolerance.relative:g}, because "
            f"{'; '.join(self.tolerance.reasons)}."
        )


def tolerance(recorded: Record, replayed: Record) -> Tolerance:
    """Agreement that the determinism settings and the two machines promise.

    On one kind of CPU, with the same number of threads and versions, training is deterministic to
    the bit, also where it was interrupted and resumed. Elsewhere sums are rounded in another order,
    and training amplifies that.
    """
    pairs = [(recorded.execution, replayed.execution)]
    for scored in recorded.evaluations:  # perhaps later than training, and elsewhere
        cells = {cell.test_set for cell in scored.cells}
        pairs += [
            (scored.execution, again.execution)
            for again in replayed.evaluations
            if cells & {cell.test_set for cell in again.cells}
        ]
    reasons = [reason for a, b in pairs for reason in _reasons(a, b)]
    if recorded.data_sha256 != replayed.data_sha256:
        reasons.append("the data have another content hash")
    if recorded.foundation_sha256 != replayed.foundation_sha256:
        reasons.append("the foundation was pretrained again and differs")
    each = tuple(dict.fromkeys(reasons))
    return Tolerance(relative=RELATIVE if each else 0.0, reasons=each)


def _reasons(a: Execution, b: Execution) -> list[str]:
    """Why what was executed as `a` may come out otherwise as `b`."""
    reasons = []
    settings = (a.determinism, b.determinism)
    if any(s.device != "cpu" and not s.deterministic_algorithms for s in settings):
        reasons.append("GPU kernels do not fix the order of their sums")
    if a.determinism.device.partition(":")[0] != b.determinism.device.partition(":")[0]:
        reasons.append(f"on {b.determinism.device}, not {a.determinism.device}")
    if a.machine.gpu != b.machine.gpu and any(s.device != "cpu" for s in settings):
        reasons.append(f"GPU {b.machine.gpu}, not {a.machine.gpu}")
    if a.determinism.threads != b.determinism.threads:
        reasons.append(f"{b.determinism.threads} threads, not {a.determinism.threads}")
    if a.determinism.precision != b.determinism.precision:
        reasons.append(f"{b.determinism.precision}, not {a.determinism.precision}")
    if a.machine.processor != b.machine.processor:
        reasons.append(f"on {b.machine.processor}, not {a.machine.processor}")
    for package, version in a.versions.items():
        if b.versions.get(package) != version:
            reasons.append(f"{package} {b.versions.get(package)}, not {version}")
    if a.commit != b.commit:
        reasons.append(f"harness of commit {_short(b.commit)}, not {_short(a.commit)}")
    if a.dirty or b.dirty:
        reasons.append("a harness with changes that were not committed")
    return reasons


def _names(record: Record) -> set[tuple[str, int]]:
    return {(cell.test_set.name, cell.samples) for cell in record.cells}


def _short(commit: str | None) -> str:
    return commit[:7] if commit else "unknown"
