"""The table that ends `bench run`: a row for each method and size of training set, with cost."""

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean

from bench.cli.terminal import duration, size, table
from bench.protocol.spec import TARGETS
from bench.records.record import Record


def show(records: Sequence[Record]) -> None:
    """Means over datasets and seeds, in distribution (ID) and out of it (OOD)."""
    groups: dict[tuple[str, str, int], list[Record]] = defaultdict(list)
    for record in records:
        family = "targets" if set(record.spec.datasets) <= set(TARGETS) else "pretraining"
        groups[family, record.spec.method_name, record.spec.percent].append(record)
    columns = ("data", "method", "#%", "#ID MAE", "#ID SSIM", "#OOD MAE", "#OOD SSIM")
    costs = ("#trainable", "#adapter", "#samples/s", "#time a fit", "#peak", "#fits")
    rows = [_row(key, group) for key, group in groups.items()]
    if rows:
        table(columns + costs, rows, title="Results (means over datasets and seeds)")


def _row(key: tuple[str, str, int], group: Sequence[Record]) -> tuple[str, ...]:
    family, method, percent = key
    own = [c for r in group for c in r.cells if c.dataset in r.spec.datasets]
    other = [c for r in group for c in r.cells if c.dataset not in r.spec.datasets]
    counts = [r.counts for r in group if r.counts]
    phases = [r.train for r in group if r.train]
    speeds = [p.samples_per_second for p in phases if p.samples_per_second]
    peaks = [p.peak_allocated_bytes or p.peak_resident_bytes or 0 for p in phases]
    return (
        family,
        method,
        str(percent),
        _mean([c.mae for c in own]),
        _mean([c.ssim for c in own]),
        _mean([c.mae for c in other]),
        _mean([c.ssim for c in other]),
        f"{counts[0].trainable_parameters:,}" if counts else "–",
        size(counts[0].adapter_bytes) if counts else "–",
        f"{fmean(speeds):.1f}" if speeds else "–",
        duration(fmean(p.seconds for p in phases)) if phases else "–",
        size(max(peaks)) if peaks else "–",
        str(len(group)),
    )


def _mean(values: Sequence[float]) -> str:
    return f"{fmean(values):.4f}" if values else "–"
