"""`bench check` and `bench new-method`: for authors of methods."""

import json
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import JsonOption


def check(
    method: Annotated[str, typer.Argument(help="An installed method.")],
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="An option, such as rank=8; may be repeated."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run the conformance suite on a method; exit code 1 if a check fails.

    It tries the method on a narrow network: defaults that suit only the full one need another
    value here, with --set.
    """
    from dataclasses import asdict

    from bench import conformance
    from bench.cli.terminal import table
    from bench.plugins import options, registry

    installed = registry.get(method)
    (config,) = options.configure([installed], setting or []).values()
    results = conformance.run(installed.method, config)
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
