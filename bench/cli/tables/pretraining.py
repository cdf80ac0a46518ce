"""The table of protocol `pretrain`: what the foundation gains over training from scratch."""

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean

from bench.cli.terminal import table
from bench.protocol.spec import PRETRAINING
from bench.records.record import Cell, Record

_SCORES = ("mae", "rmse", "ssim")
Pairs = dict[str, list[tuple[Cell, Cell]]]
"""By dataset, of each seed: the foundation's cell and that of a method from scratch."""


def show(records: Sequence[Record]) -> None:
    """The paper's Fig. 2 as numbers, a table for each method that was fitted on these datasets."""
    foundation = {
        (cell.dataset, record.spec.seed): cell
        for record in records
        if record.spec.method is None
        for cell in record.cells
    }
    methods: dict[str, Pairs] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if record.spec.method is None or not set(record.spec.datasets) <= set(PRETRAINING):
            continue
        for cell in record.cells:
            if other := foundation.get((cell.dataset, record.spec.seed)):
                methods[record.spec.method.name][cell.dataset].append((other, cell))
    for name, pairs in methods.items():
        _table(name, pairs)


def _table(name: str, pairs: Pairs) -> None:
    from leaderboard.standings import better
    from leaderboard.statistics import gain_percent

    columns = ["dataset"]
    for score in _SCORES:
        columns += [f"#{score.upper()} foundation", f"#{name}", "#gain"]
    rows = []
    for dataset in filter(pairs.__contains__, PRETRAINING):
        row = [dataset]
        for score in _SCORES:
            ours = fmean(getattr(cell, score) for cell, _ in pairs[dataset])
            theirs = fmean(getattr(cell, score) for _, cell in pairs[dataset])
            gain = gain_percent(ours, theirs, better=better(score)) if theirs else float("nan")
            row += [f"{ours:.4f}", f"{theirs:.4f}", f"{gain:+.1f} %"]
        rows.append(row)
    table(columns, rows, title=f"Gain of the foundation over {name} (the paper's Fig. 2)")
