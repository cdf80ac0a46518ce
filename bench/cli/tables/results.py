"""The tables that end `bench run`, made by the leaderboard's tables."""

from collections import Counter
from collections.abc import Sequence

import typer

from bench.cli.terminal import table
from bench.records.record import Record
from leaderboard.load import results
from leaderboard.tables import run_summary


def show(records: Sequence[Record]) -> None:
    """Print results by method, gains from pretraining, and the configs of a sweep; then the
    precision of training."""
    found = results.of_records(records)
    for title, columns, rows in run_summary.tables(found):
        table(columns, rows, title=title)
    trained = [record for record in records if record.curve]
    precisions = Counter(record.execution.determinism.precision for record in trained)
    if precisions:
        told = ", ".join(f"{name} ({n:,} trained)" for name, n in precisions.most_common())
        typer.echo(f"Precision: {told}.")
