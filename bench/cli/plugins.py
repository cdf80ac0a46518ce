"""`bench check` and `bench new-method`: for authors of methods."""

import json
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import JsonOption


def check(
    method: Annotated[str, typer.Argument(help="An installed method.")],
    as_json: JsonOption = False,
) -> None:
    """Run the conformance suite on a method; exit code 1 if a check fails."""
    from dataclasses import asdict

    from bench import conformance
    from bench.plugins import registry
    from bench.terminal import table

    results = conformance.run(registry.load().get(method).method)
    failed = sum(not result.passed for result in results)
    if as_json:
        typer.echo(json.dumps([asdict(result) for result in results], indent=1))
    else:
        rows = [("✓" if r.passed else "✗", r.name, r.detail or r.meaning) for r in results]
        table(("", "check", "what was found"), rows)
        typer.echo(
            f"Method '{method}' passes all {len(results)} checks."
            if not failed
            else f"Method '{method}' fails {failed} of {len(results)} checks."
        )
    if failed:
        raise typer.Exit(1)


def new_method(
    name: Annotated[str, typer.Argument(help="Lower-case name, such as my_method.")],
    folder: Annotated[Path, typer.Option(help="Where the package's folder is made.")] = Path(),
) -> None:
    """Write a small installable package with one method in it."""
    from bench.plugins import scaffold

    package = scaffold.write(name, folder)
    typer.echo(f"Wrote {package}. Next: pip install -e {package} && bench check {name}")
