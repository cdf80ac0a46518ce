"""`bench misfit`: simulate predicted maps again and compare with the records."""

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import HomeOption


def misfit(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Folders of runs, such as leaderboard/records/small. Default: the home's runs.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    home: HomeOption = None,
) -> None:
    """Compute the data misfit of kept maps: relative L2 between simulated and true records.

    Works on finished and published runs; nothing is trained again. What is there is not repeated.
    """
    from bench.cli import terminal
    from bench.cli.interrupts import interruptible
    from bench.errors import RecordError
    from bench.records.record import FILE
    from bench.runner import misfits
    from bench.runner.workspace import to_read
    from bench.training import numerics

    if folders:
        for folder in folders:
            if not folder.is_dir():
                raise RecordError(f"{folder} is not a folder; name one that holds runs.")
        runs = [path.parent for folder in folders for path in sorted(folder.glob(f"**/{FILE}"))]
    else:
        runs = [path.parent for path in to_read(home).records()]
    todo = misfits.missing(runs)
    settings = numerics.choose(device)
    with interruptible(), terminal.progress(quiet=False) as progress, settings.active():
        misfits.measure(todo, settings.device, progress)
    typer.echo(f"Misfits of {len(todo)} runs computed; {len(runs)} runs looked at.")
