"""`bench adapt`: saved deltas and foundations as files."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Apply, merge or inspect a saved delta.", no_args_is_help=True)

Foundation = Annotated[
    Path, typer.Argument(help="foundation.safetensors, or an upstream-format .pth checkpoint.")
]
Delta = Annotated[Path, typer.Argument(help="delta.safetensors of a run.")]
Out = Annotated[Path, typer.Argument(help="The file to write.")]


@app.command("apply")
def apply(foundation: Foundation, delta: Delta, out: Out) -> None:
    """Write the whole adapted network's state as safetensors."""
    from bench.plugins import deltas

    typer.echo(f"Wrote {deltas.apply(foundation, delta, out)}")


@app.command("merge")
def merge(foundation: Foundation, delta: Delta, out: Out) -> None:
    """Write a plain backbone with the same predictions: upstream format (.pth) or safetensors."""
    from bench.plugins import deltas

    typer.echo(f"Wrote {deltas.merge(foundation, delta, out)}")


@app.command("diff")
def diff(
    foundation: Foundation,
    delta: Delta,
    merged: Annotated[
        bool, typer.Option("--merged", help="Compare the merged backbone's weights.")
    ] = False,
) -> None:
    """List the tensors that the delta adds or changes."""
    from bench.cli.terminal import table
    from bench.plugins import deltas

    rows = deltas.diff(foundation, delta, merged=merged)
    table(
        ("tensor", "", "#shape", "#largest change", "#relative change"),
        [
            (
                row.name,
                row.kind,
                " × ".join(map(str, row.shape)),
                _number(row.largest_change),
                _number(row.relative_change),
            )
            for row in rows
        ],
    )
    typer.echo(f"{len(rows)} tensors differ from the foundation.")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
