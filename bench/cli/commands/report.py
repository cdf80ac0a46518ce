"""`bench report`: the static site of this home's records and the published ones."""

import os
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import HomeOption, RecordsOption, check_records

_NOT_INSTALLED = (
    "the installed package has none; name those of a checkout with --records leaderboard/records."
)


def report(
    home: HomeOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the site. Default: `site` in the home.")
    ] = None,
    records: RecordsOption = None,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Render the leaderboard as a static site that opens without a server or a network."""
    # Matrices and frames of this size are slower on several threads, which also change the order in
    # which numbers are added up; the libraries read this when they are imported
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    from bench.runner.workspace import to_read
    from leaderboard.build import render

    check_records(records)
    place = to_read(home)
    result = render.build([place.folder], out or place.site, published=records)
    for problem in result.problems:
        typer.echo(f"Left out: {problem.path}: {problem.reason}", err=True)
    if not result.published:
        typer.echo(
            "Without published runs: "
            + (f"there are none in {records}." if records else _NOT_INSTALLED),
            err=True,
        )
    typer.echo(f"{result.records} records, {result.pages} pages: {result.index}")
    for title, page in result.local:
        if page != result.index:
            typer.echo(f"Runs of this home, {title}: {page}")
    if show:
        typer.launch(result.index.as_uri())
