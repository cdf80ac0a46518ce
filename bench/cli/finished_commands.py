"""`bench run` of what is recorded already: told at once, without torch."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from bench.protocol.spec import Track
    from bench.records.record import Record
    from bench.runner.finished import Finished

_HOME_DECIDES = {
    *("method", "protocol", "track", "seeds", "setting", "grid", "more_grid", "backbone"),
    *("percent", "batchnorm", "precision", "checkpoint_share"),
}
"""Options under which home and installation alone decide what there is to do."""
_ASIDE = {"home", "quiet"}
"""Options that change neither what there is to do nor what is said of it."""


def of(ctx: typer.Context, track: "Track", home: Path | None) -> "Finished | None":
    """What may be kept of this command; None where other options, files from elsewhere or other
    processes have a say in it."""
    from bench.runner.finished import Finished
    from bench.runner.workspace import Workspace, default

    given = {name for name in ctx.params if not _is_default(ctx, name)} - _ASIDE
    if given - _HOME_DECIDES or track.data.source != "generated" or "WORLD_SIZE" in os.environ:
        return None
    words = {name: str(ctx.params[name]) for name in sorted(given)}
    return Finished.of(words, track, Workspace(home or default(), write=False))


def tell(lines: Sequence[str], records: "Sequence[Record]", *, quiet: bool) -> None:
    """Print what such a command had to say, and its tables."""
    from bench.cli import terminal
    from bench.cli.tables import results

    with terminal.progress(quiet=quiet) as progress:
        for line in lines:
            progress.say(line)
    results.show(records)


def _is_default(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "DEFAULT"
