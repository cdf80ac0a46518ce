"""`bench methods`, `backbones`, `protocols`, `tracks` and `runs`: lists of what is available."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.options import HomeOption, JsonOption

if TYPE_CHECKING:
    from bench.protocol.spec import Track
    from bench.records.record import Cell, Record


def methods(
    as_json: JsonOption = False,
    backbone: Annotated[
        str, typer.Option("--backbone", "-b", help="The network to count on.")
    ] = "inversionnet",
) -> None:
    """List installed methods: origin, traits, parameters on a backbone."""
    from bench.cli import method_list
    from bench.cli.terminal import table

    found = method_list.listed(backbone, lambda text: typer.echo(text, err=True))
    if as_json:
        return _print(found)
    table(
        ("method", "category", "#trainable", "#total", "BatchNorm", "from", "what it is"),
        [
            (
                row["name"],
                row["traits"]["category"],
                _count(row["trainable_parameters"]),
                _count(row["total_parameters"]),
                row["traits"]["batchnorm"],
                f"{row['distribution']} {row['distribution_version']}",
                row["unsuited"] or row["summary"],
            )
            for row in found["methods"]
        ],
    )
    for kind, words in (("problems", "Cannot use"), ("meddlers", "Note on")):
        for plugin in found[kind]:
            where = f"{plugin['name']} ({plugin['distribution']})"
            typer.echo(f"{words} {where}: {plugin['reason']}", err=True)


def backbones(as_json: JsonOption = False) -> None:
    """List installed backbones: origin and parameters."""
    from bench.cli.terminal import table
    from bench.errors import BackboneError, ConfigError
    from bench.models import backbones as known

    rows, problems = [], []
    for name in known.names():
        try:
            rows.append(_backbone(name))
        except (BackboneError, ConfigError) as error:  # the others are listed all the same
            problems.append({"name": name, "reason": str(error)})
    if as_json:
        _print({"backbones": rows, "problems": problems})
        return
    table(
        ("backbone", "#parameters", "default of", "from", "what it is", "source"),
        [
            (
                row["name"],
                _count(row["parameters"]),
                ", ".join(row["default_of"]) or "–",
                f"{row['distribution']} {row['distribution_version']}",
                row["summary"],
                row["source"],
            )
            for row in rows
        ],
    )
    for problem in problems:
        typer.echo(problem["reason"], err=True)


def _backbone(name: str) -> dict[str, Any]:
    from bench.models import backbones as known
    from bench.plugins import parameter_counts
    from bench.protocol import tracks as known_tracks

    installed = known.get(name)
    loaded = map(known_tracks.load, known_tracks.names())
    return {
        "name": name,
        "summary": installed.backbone.summary,
        "source": installed.backbone.source,
        "distribution": installed.distribution,
        "distribution_version": installed.distribution_version,
        "backbone_version": installed.backbone.version,
        "parameters": parameter_counts.backbone_parameters(name),
        "default_of": [track.name for track in loaded if track.default_backbone == name],
    }


def protocols(as_json: JsonOption = False) -> None:
    """List the protocols and how many fits each asks of a method."""
    from bench.cli.terminal import table
    from bench.protocol import protocols as known

    rows = [
        {
            "name": name,
            "summary": known.get(name).summary,
            "fits": len(known.get(name).fits),
            "cells": sum(len(slot.tests) for slot in known.get(name).fits),
        }
        for name in known.names()
    ]
    if as_json:
        _print({"protocols": rows})
        return
    table(
        ("protocol", "#fits a method and seed", "#cells", "what it is"),
        [(str(r["name"]), str(r["fits"]), str(r["cells"]), str(r["summary"])) for r in rows],
    )


def tracks(as_json: JsonOption = False) -> None:
    """List the tracks: data and budget."""
    from bench.cli.terminal import table
    from bench.protocol import tracks as known

    loaded = [known.load(name) for name in known.names()]
    if as_json:
        _print({"tracks": [track.model_dump(mode="json") for track in loaded]})
        return
    table(
        ("track", "network", "data", "#train", "#test", "#epochs", "#batch", "for"),
        [
            (
                track.name,
                track.default_backbone,
                track.data.source,
                _train_samples(track),
                str(track.data.test or "official"),
                f"{track.pretrain.epochs} / {track.fit.epochs}",
                f"{track.pretrain.batch} / {track.fit.batch}",
                track.summary,
            )
            for track in loaded
        ],
    )


def runs(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """The recorded runs of this home."""
    from bench.cli.terminal import table
    from bench.errors import RecordError
    from bench.records.reader import read
    from bench.runner.workspace import to_read

    records, damaged = [], []
    for path in to_read(home).records():
        try:
            records.append(read(path))
        except RecordError as error:
            damaged.append(str(error))
    if as_json:
        rows = [_run(record) for record in records]
        _print({"runs": rows, "damaged": damaged})
        return
    table(
        ("run", "status", "track", "network", "method", "fit on", "#%", "#seed", "MAE by test set"),
        [
            (
                record.run_id,
                record.status,
                record.spec.track,
                record.spec.backbone.name,
                record.spec.method.name,
                ", ".join(record.spec.datasets),
                str(record.spec.percent),
                str(record.spec.seed),
                record.error or ", ".join(map(_mae, record.cells)),
            )
            for record in records
        ],
    )
    for line in damaged:
        typer.echo(line, err=True)


def _train_samples(track: "Track") -> str:
    """Training samples of a target, and of a pretraining dataset where they differ."""
    data = track.data
    both = dict.fromkeys(str(n or "official") for n in (data.pretraining_train, data.train) if n)
    return " / ".join(both) or "official"


def _run(record: "Record") -> dict[str, Any]:
    row = record.model_dump(mode="json", include={"run_id", "status", "error", "spec"})
    row["cells"] = [cell.model_dump(mode="json") for cell in record.cells]
    row["ended"] = record.execution.ended.isoformat()
    return row


def _mae(cell: "Cell") -> str:
    value = cell.scores.get("mae")
    return f"{cell.test_set.name} {'–' if value is None else f'{value:.3f}'}"


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _print(content: dict[str, Any]) -> None:
    typer.echo(json.dumps(content, indent=1))
