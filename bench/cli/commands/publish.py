"""`bench publish`: copy the runs of one track out of the home, without their weights."""

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import BackboneOption, HomeOption, WeightsOption


def publish(
    folder: Annotated[Path, typer.Argument(help="Such as leaderboard/records in a checkout.")],
    track: Annotated[str, typer.Option("--track", "-t", help="A track, or a TOML file.")] = "small",
    backbone: BackboneOption = None,
    weights: WeightsOption = None,
    maps: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Maps of each test set to copy: the first ones, and the worst. Default: all that "
            "were kept.",
            show_default=False,
        ),
    ] = None,
    home: HomeOption = None,
) -> None:
    """Copy records, per-sample scores and gallery maps of a track's runs, for a pull request."""
    from bench.errors import ConfigError
    from bench.protocol import tracks
    from bench.runner import initial_weights, publishing
    from bench.runner.workspace import to_read

    chosen = tracks.load(track)
    network = backbone or chosen.default_backbone
    records = publishing.publish(
        to_read(home),
        chosen,
        initial_weights.specification(network, weights),
        folder,
        samples=maps,
    )
    if not records:
        raise ConfigError(
            f"This home has no runs of track '{chosen.name}' with backbone '{network}' under the "
            "present protocol; `bench runs` lists what it has."
        )
    for record in records:
        if record.execution.commit is None or record.execution.dirty:
            typer.echo(f"Not from a clean commit: {record.run_id}, {record.spec.title}", err=True)
    failed = sum(record.status != "done" for record in records)
    typer.echo(f"{len(records)} runs ({failed} failed) in {folder / chosen.name}")
