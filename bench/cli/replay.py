"""`bench replay`: repeat a recorded run and say whether the numbers agree."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import HomeOption, JsonOption

if TYPE_CHECKING:
    from bench.replay import Replay


def replay(
    run: Annotated[str, typer.Argument(help="A run id, its beginning, or a record's path.")],
    home: HomeOption = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of the real files, for track openfwi.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Repeat a recorded run from its record alone and compare; exit code 0 if they agree, else 1.

    It runs in a folder of its own, which is removed; the home stays as it is.
    """
    from bench import replay, terminal
    from bench.cli.interrupts import interruptible
    from bench.home import Home, default
    from bench.plugins import registry
    from bench.progress import Silent

    chosen = Home(home or default())
    record = replay.find(chosen, run)
    with (
        interruptible(),
        terminal.progress(quiet=False) as shown,
        tempfile.TemporaryDirectory(prefix="replay-", dir=chosen.folder) as scratch,
    ):
        progress = Silent() if as_json else shown
        progress.say(f"Replaying {record.run_id}: {record.spec.title}, track {record.track.name}")
        result = replay.replay(
            record,
            home=chosen,
            scratch=Path(scratch),
            registry=registry.load(),
            progress=progress,
            data_folder=data,
        )
    if as_json:
        _print_json(result)
    else:
        _print(result)
    if not result.agrees:
        raise typer.Exit(1)


def _print(result: "Replay") -> None:
    from bench.terminal import table

    table(
        ("test dataset", "score", "#recorded", "#replayed", "#relative difference"),
        [
            (d.dataset, d.score, f"{d.recorded:.6f}", f"{d.replayed:.6f}", f"{d.relative:.2g}")
            for d in result.differences
        ],
    )
    typer.echo(_verdict(result))


def _verdict(result: "Replay") -> str:
    if result.replayed.status != "done":
        return f"Disagrees: the replay is {result.replayed.status}: {result.replayed.error}"
    tolerance = result.tolerance
    if not tolerance.reasons:
        promise = "same kind of CPU, threads and versions promise bit-identical numbers"
        if result.agrees:
            return f"Agrees bit for bit, scores and weights ({promise})."
        return f"Disagrees: {promise}, and these are not."
    largest = max(d.relative for d in result.differences)
    return (
        f"{'Agrees' if result.agrees else 'Disagrees'}: the largest relative difference is "
        f"{largest:.2g}, allowed is {tolerance.relative:g}, because "
        f"{'; '.join(tolerance.reasons)}."
    )


def _print_json(result: "Replay") -> None:
    import json
    from dataclasses import asdict

    content = {
        "run_id": result.recorded.run_id,
        "agrees": result.agrees,
        "verdict": _verdict(result),
        "same_weights": result.same_weights,
        "tolerance": asdict(result.tolerance),
        "differences": [asdict(d) | {"relative": d.relative} for d in result.differences],
    }
    typer.echo(json.dumps(content, indent=1))
