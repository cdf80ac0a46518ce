"""The table of a sweep: the configs tried, best on validation data first (paper's Table II)."""

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean

from bench.cli.terminal import table
from bench.protocol.spec import canonical
from bench.records.record import Record


def show(records: Sequence[Record]) -> None:
    """For each method a row a config: means over datasets and seeds."""
    methods: dict[str, dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if record.spec.method:
            config = canonical(record.spec.method.config)
            methods[record.spec.method.name][config].append(record)
    for name, configs in methods.items():
        _table(name, list(configs.values()))


def _table(name: str, groups: list[list[Record]]) -> None:
    configs = [group[0].spec.method.config for group in groups if group[0].spec.method]
    varying = [key for key in sorted(configs[0]) if len({repr(c[key]) for c in configs}) > 1]
    rows = []
    for config, group in zip(configs, groups, strict=True):
        cells = [cell for record in group for cell in record.cells]
        scores = [fmean(getattr(c, score) for c in cells) for score in ("mae", "rmse", "ssim")]
        trainable = group[0].counts.trainable_parameters if group[0].counts else 0
        rows.append((scores, [str(config[key]) for key in varying], trainable, len(group)))
    rows.sort(key=lambda row: row[0][0])
    table(
        (*(f"#{key}" for key in varying), "#MAE", "#RMSE", "#SSIM", "#trainable", "#fits"),
        [
            (*options, *(f"{score:.4f}" for score in scores), f"{trainable:,}", str(fits))
            for scores, options, trainable, fits in rows
        ],
        title=f"Sweep of {name}: validation part of the training data (means over datasets, seeds)",
    )
