"""`bench evaluate`: score any weights file on test sets."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import BackboneOption, HomeOption, JsonOption


def evaluate(
    weights: Annotated[
        Path,
        typer.Argument(help="A foundation or another checkpoint of the backbone."),
    ],
    delta: Annotated[
        Path | None, typer.Argument(help="A delta.safetensors to put on it.", show_default=False)
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option("--dataset", "-d", help="Default: the four targets; may be repeated."),
    ] = None,
    track: Annotated[
        str, typer.Option("--track", "-t", help="Track whose test data are used, or a TOML file.")
    ] = "small",
    backbone: BackboneOption = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    home: HomeOption = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of the real files, for track openfwi.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Score a weights file on test sets of a track; nothing is recorded.

    Generated tracks draw from one sequence of maps: weights that were trained on another of them
    may have seen the maps that this one tests on.
    """
    from bench.cli import terminal
    from bench.cli.interrupts import interruptible
    from bench.data.layout import dataset_named
    from bench.models import backbones
    from bench.protocol import tracks
    from bench.protocol.spec import TARGETS, TestSet
    from bench.runner import weights_file
    from bench.runner.context import RunContext
    from bench.runner.workspace import Workspace, default
    from bench.seismic import metrics
    from bench.training import numerics

    chosen = tracks.load(track)
    network = weights_file.network_of(delta, backbone, chosen.default_backbone)
    settings = numerics.choose(device)
    names = [dataset_named(word) for word in dataset] if dataset else list(TARGETS)
    with (
        interruptible(keeps=False),
        terminal.progress(quiet=as_json) as progress,
        settings.active(),
    ):
        context = RunContext(
            workspace=Workspace(home or default()),
            track=chosen,
            backbone=backbones.spec(network),
            numerics=settings,
            progress=progress,
            command=("bench", *sys.argv[1:]),
            data_folder=data,
        )
        tests = [TestSet(dataset=name) for name in names]
        scores = weights_file.evaluate(weights, delta, tests, context)
    if as_json:
        typer.echo(json.dumps({test.name: found for test, found in scores.items()}, indent=1))
        return
    terminal.table(
        ("test set", *(f"#{metric.label}" for metric in metrics.METRICS)),
        [
            (
                test.name,
                *(
                    "–" if (value := found[m.name]) is None else f"{value:.{m.digits}f}"
                    for m in metrics.METRICS
                ),
            )
            for test, found in scores.items()
        ],
    )
