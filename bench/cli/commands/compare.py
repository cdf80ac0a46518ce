"""`bench compare`: is one method better than another, and is the difference resolved?"""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.options import HomeOption, JsonOption

if TYPE_CHECKING:
    from leaderboard.boards import Board
    from leaderboard.comparison import Result
    from leaderboard.views import View


_BACKBONE = "inversionnet"


def compare(
    methods: Annotated[list[str], typer.Argument(help="Two or more: lora fft.")],
    protocol: Annotated[
        str, typer.Option("--protocol", "-p", help="id, ood, lowdata or pretrain.")
    ] = "ood",
    track: Annotated[
        str | None,
        typer.Option("--track", "-t", help="Default: the one with most records of these methods."),
    ] = None,
    metric: Annotated[str, typer.Option(help="mae, rmse or ssim.")] = "mae",
    against: Annotated[
        str | None, typer.Option(help="The opponent. Default: fft if named, else the last.")
    ] = None,
    backbone: Annotated[str, typer.Option(help="The network.")] = _BACKBONE,
    reference: Annotated[
        bool, typer.Option("--reference", help="Show published numbers beside ours.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare methods pairwise on the same seeds and samples, with 95 % intervals."""
    from bench.errors import ConfigError, UnknownNameError
    from bench.runner.workspace import Home, default
    from leaderboard import beside, comparison, library
    from leaderboard.boards import OPPONENT
    from leaderboard.standings import METRICS
    from leaderboard.views import VIEWS

    names = list(dict.fromkeys([*methods, *([against] if against else [])]))
    if len(names) < 2:
        raise ConfigError("Name two methods or more, such as `bench compare lora fft`.")
    if protocol not in VIEWS:
        raise UnknownNameError("protocol to compare on", protocol, VIEWS)
    if metric not in METRICS:
        raise UnknownNameError("metric", metric, METRICS)
    opponent = against or (OPPONENT if OPPONENT in names else names[-1])
    view = VIEWS[protocol]
    boards = library.read([Home(home or default()).folder]).boards()
    try:
        board = _board(boards, names, view, track, backbone)
        result = comparison.compare(board, names, view=view, metric=metric, opponent=opponent)
    except comparison.MissingCellsError as error:
        _check_known(names, boards)
        fullest = next((b.key.track for b in boards if b.key.backbone == backbone), None)
        options = {"--track": track or fullest, "--home": home}
        if backbone != _BACKBONE:
            options["--backbone"] = backbone
        command = _command(names, protocol, options)
        raise comparison.MissingCellsError(f"{error} Make them with: {command}") from None
    rows = beside.published_cells(result) if reference else []
    if as_json:
        content = _content(result)
        if reference:
            content["reference"] = {
                "other_data": beside.other_data(result),
                "cells": [asdict(row) for row in rows],
            }
        typer.echo(json.dumps(content, indent=1))
        return
    from bench.cli.tables import comparison as tables

    tables.show(result)
    if reference:
        tables.show_reference(rows, beside.other_data(result))


def _check_known(names: Sequence[str], boards: "Sequence[Board]") -> None:
    """Raise `UnknownNameError` for a method that is neither recorded nor installed."""
    from bench.errors import UnknownNameError
    from bench.plugins import registry

    recorded = {entry.name for board in boards for entry in board.entries}
    known = recorded | registry.names() | {"foundation"}
    for name in names:
        plain = name.partition(" ")[0]
        if plain not in known:
            raise UnknownNameError("method", plain, known)


def _board(
    boards: "Sequence[Board]", names: Sequence[str], view: "View", track: str | None, backbone: str
) -> "Board":
    """The board of the track's present fingerprint; without a track the fullest that has it all,
    those of the present protocol first."""
    from bench.protocol import fingerprint, tracks
    from leaderboard.comparison import MissingCellsError, complete

    fitting = [board for board in boards if board.key.backbone == backbone]
    if track is None:
        if not fitting:
            raise MissingCellsError("This home has no records.")
        fitting.sort(key=lambda b: b.key.fingerprint != fingerprint.fingerprint(b.track, backbone))
        return next((b for b in fitting if complete(b, names, view)), fitting[0])
    chosen = tracks.load(track)
    present = fingerprint.fingerprint(chosen, backbone)
    for board in fitting:
        if board.key.fingerprint == present:
            return board
    stale = sum(len(b.entries) for b in fitting if b.key.track == chosen.name)
    also = f" ({stale} records of it have another fingerprint and do not count)" if stale else ""
    raise MissingCellsError(f"Nothing is recorded on track '{chosen.name}'{also}.")


def _command(names: Sequence[str], protocol: str, options: Mapping[str, object]) -> str:
    """`bench run` for these methods; a label with options, ``lora rank=4``, is a run of its own."""
    plain = [name for name in names if " " not in name and name != "foundation"]
    runs = [["--method", ",".join(plain)]] if plain else []
    for label in names:
        name, *marks = label.split()
        if marks:
            settings = [word for mark in marks if "=" in mark for word in ("--set", mark)]
            runs.append(["--method", name, *settings])
    tail = ["--protocol", protocol]
    for option, value in options.items():
        if value is not None:
            tail += [option, _track_word(str(value)) if option == "--track" else str(value)]
    return " && ".join(shlex.join(["bench", "run", *run, *tail]) for run in runs)


def _track_word(track: str) -> str:
    """As `bench run` takes it: a track of one's own is a file."""
    from bench.protocol import tracks

    return track if track in tracks.names() or track.endswith(".toml") else f"{track}.toml"


def _content(result: "Result") -> dict[str, Any]:
    from leaderboard import comparison

    labels = result.labels
    others = [label for i, label in enumerate(labels) if i != result.opponent]
    content: dict[str, Any] = {
        "track": result.board.key.track,
        "backbone": result.board.key.backbone,
        "fingerprint": result.board.key.fingerprint,
        "protocol": result.view.name,
        "metric": result.metric,
        "seeds": result.seeds,
        "opponent": labels[result.opponent],
        "comparisons": [
            {"method": a.label, "resolved": a.comparison.resolved, "verdict": a.verdict}
            | {"gain_percent": asdict(a.gain) if a.gain else None}
            | asdict(a.comparison)
            for a in result.against
        ],
        "ranking": [asdict(r) | {"method": labels[r.method]} for r in result.ranked],
        "groups": comparison.groups(result),
        "cells": [
            {
                "train": cell.fit.train,
                "percent": cell.fit.percent,
                "test": cell.test,
                "scores": dict(zip(labels, map(asdict, cell.scores), strict=True)),
                "differences": {
                    label: {"resolved": difference.resolved} | asdict(difference)
                    for label, difference in zip(others, cell.differences, strict=True)
                },
            }
            for cell in result.cells
        ],
    }
    if result.low_data:
        content["low_data"] = {
            "curves": dict(zip(labels, map(asdict, result.low_data.curves), strict=True)),
            "area_differences": dict(
                zip(others, map(asdict, result.low_data.area_differences), strict=True)
            ),
            "crossovers": {
                label: {"resolved": crossover.resolved} | asdict(crossover)
                for label, crossover in zip(others, result.low_data.crossovers, strict=True)
            },
        }
    return content
