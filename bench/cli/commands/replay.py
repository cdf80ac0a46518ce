"""`bench replay`: repeat a recorded run and say whether the numbers agree."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import HomeOption, JsonOption

if TYPE_CHECKING:
    from bench.runner.reproducibility import Reproduction


def replay(
    run: Annotated[
        str, typer.Argument(help="A run of the home, by id or its beginning, or a record's path.")
    ],
    home: HomeOption = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of the real files, for track openfwi.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda or cuda:N. Default: that of the record.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="bfloat16 or float32. Default: that of the record.")
    ] = None,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="If they agree, note in the record that it was replayed."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Repeat a recorded run from its record alone and compare; exit code 0 if they agree, 1 if not.

    With --device the threads are this machine's, and scores agree if they differ by 5 % at most;
    so they do in another precision.

    It runs in a folder of its own, which is removed; the home stays as it is, but for the level of
    verification that --verify notes.
    """
    from bench.cli import terminal
    from bench.cli.interrupts import interruptible
    from bench.progress import Silent
    from bench.runner import replay
    from bench.runner.workspace import Workspace, default, to_read

    # An id is looked up before a home is made by typo; a file needs no home that is there
    there = Workspace(home or default(), write=False) if Path(run).exists() else to_read(home)
    path = replay.find(there, run)
    record = replay.repeatable(path)
    chosen = Workspace(home or default())
    with (
        interruptible(keeps=False),
        terminal.progress(quiet=False) as shown,
        tempfile.TemporaryDirectory(prefix="replay-", dir=chosen.folder) as scratch,
    ):
        progress = Silent() if as_json else shown
        progress.say(f"Replaying {record.run_id}: {record.spec.title}, track {record.track.name}")
        result = replay.replay(
            record,
            workspace=chosen,
            scratch=Path(scratch),
            progress=progress,
            data_folder=data,
            device=device,
            precision=precision,
        )
    if as_json:
        _print_json(result)
    else:
        _print(result)
    if verify and replay.note(result, path):
        typer.echo(f"Noted as replayed in {path}.", err=as_json)
    if not result.agrees:
        raise typer.Exit(1)


def _print(result: "Reproduction") -> None:
    from bench.cli.terminal import table

    table(
        ("test set", "metric", "#recorded", "#replayed", "#relative difference"),
        [
            (d.test_set, d.metric, f"{d.recorded:.6f}", f"{d.replayed:.6f}", f"{d.relative:.2g}")
            for d in result.differences
        ],
    )
    typer.echo(result.verdict)


def _print_json(result: "Reproduction") -> None:
    import json
    from dataclasses import asdict

    content = {
        "run_id": result.recorded.run_id,
        "agrees": result.agrees,
        "verdict": result.verdict,
        "same_weights": result.same_weights,
        "tolerance": asdict(result.tolerance),
        "differences": [asdict(d) | {"relative": d.relative} for d in result.differences],
    }
    typer.echo(json.dumps(content, indent=1))
