"""The tables that end `bench run`, made by the leaderboard's tables."""

from collections.abc import Sequence

from bench.cli.terminal import table
from bench.records.record import Record
from leaderboard.load import results
from leaderboard.tables import run_summary


def show(records: Sequence[Record]) -> None:
    """Print results by method, gains from pretraining, and the configs of a sweep."""
    found = results.of_records(records)
    for title, columns, rows in run_summary.tables(found):
        table(columns, rows, title=title)
