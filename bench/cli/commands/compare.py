"""`bench compare`: is one method better than another, and is the difference resolved?"""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.options import (
    BackboneOption,
    HomeOption,
    JsonOption,
    PercentOption,
    RecordsOption,
    WeightsOption,
    check_records,
    whole_numbers,
)

if TYPE_CHECKING:
    from bench.protocol.protocols import Protocol
    from leaderboard.stats.comparisons import Comparison
    from leaderboard.tables.boards import Board
    from leaderboard.tables.comparison import MethodComparison


_COMPARABLE = ("id", "ood", "lowdata", "retention", "shift", "pretrain")


def compare(
    methods: Annotated[list[str], typer.Argument(help="Two or more: lora fft.")],
    protocol: Annotated[
        str, typer.Option("--protocol", "-p", help=f"{', '.join(_COMPARABLE)}.")
    ] = "ood",
    percent: PercentOption = None,
    track: Annotated[
        str | None,
        typer.Option("--track", "-t", help="Default: the one with most records of these methods."),
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="Such as mae, rmse, ssim. Default: mae.", show_default=False)
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(help="The reference method. Default: fft if named, else the last."),
    ] = None,
    backbone: BackboneOption = None,
    weights: WeightsOption = None,
    reference: Annotated[
        bool, typer.Option("--reference", help="Show published numbers beside ours.")
    ] = False,
    home: HomeOption = None,
    records: RecordsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare methods pairwise on the same seeds and samples, with 95 % intervals."""
    from bench.errors import ConfigError, UnknownNameError
    from bench.protocol import protocols
    from bench.runner.workspace import to_read
    from bench.seismic import metrics
    from leaderboard.load import results
    from leaderboard.tables import comparison, reference_comparison
    from leaderboard.tables.assembly import gather
    from leaderboard.tables.boards import REFERENCE

    names = list(dict.fromkeys([*methods, *([against] if against else [])]))
    if len(names) < 2:
        raise ConfigError("Name two methods or more, such as `bench compare lora fft`.")
    if protocol not in _COMPARABLE:
        raise UnknownNameError("protocol to compare on", protocol, _COMPARABLE)
    chosen_metric = metrics.get(metric) if metric else metrics.METRICS[0]
    chosen = against or (REFERENCE if REFERENCE in names else names[-1])
    view = protocols.get(protocol)
    if percent is not None:
        view = protocols.at(view, whole_numbers("--percent", percent))
    check_records(records)
    boards = gather(results.read([to_read(home).folder], published=records))
    try:
        board = _board(boards, names, view, track, backbone, weights)
        result = comparison.compare(
            board, names, protocol=view, metric=chosen_metric, reference=chosen
        )
    except comparison.MissingCellsError as error:
        _check_known(names, backbone, boards)
        fitting = (b for b in boards if backbone in (None, b.key.backbone))
        fullest = next((b.key.track for b in fitting), None)
        options = {"--percent": percent, "--track": track or fullest, "--home": home}
        options |= {"--backbone": backbone, "--weights": weights}
        command = _command(names, protocol, options)
        raise comparison.MissingCellsError(f"{error} Make them with: {command}") from None
    rows = reference_comparison.published_cells(result) if reference else []
    if as_json:
        content = _content(result)
        if reference:
            content["reference"] = {
                "other_data": reference_comparison.other_data(result),
                "cells": [asdict(row) for row in rows],
            }
        typer.echo(json.dumps(content, indent=1))
        return
    from bench.cli.tables import comparison as tables

    tables.show(result)
    if reference:
        tables.show_reference(rows, reference_comparison.other_data(result))


def _check_known(names: Sequence[str], backbone: str | None, boards: "Sequence[Board]") -> None:
    """Raise `UnknownNameError` for a method or backbone that is neither recorded nor installed."""
    from bench.errors import UnknownNameError
    from bench.models import backbones
    from bench.plugins import registry

    networks = {*(board.key.backbone for board in boards), *backbones.names()}
    if backbone is not None and backbone not in networks:
        raise UnknownNameError("backbone", backbone, networks)

    recorded = {str(name) for board in boards for name in board.fits["method"].to_list()}
    known = recorded | registry.names() | {"foundation"}
    for name in names:
        plain = name.partition(" ")[0]
        if plain not in known:
            raise UnknownNameError("method", plain, known)


def _board(
    boards: "Sequence[Board]",
    names: Sequence[str],
    view: "Protocol",
    track: str | None,
    backbone: str | None,
    weights: Path | None,
) -> "Board":
    """The board of the track's present fingerprint; without a track the fullest that has it all,
    those of the present protocol first."""
    from bench.models import backbones
    from bench.protocol import fingerprint, tracks
    from bench.runner import initial_weights
    from leaderboard.tables.comparison import MissingCellsError, complete

    def present(board: "Board") -> bool:
        if board.key.backbone not in backbones.names():
            return False
        if weights is not None and board.key.backbone != (backbone or board.track.default_backbone):
            return False  # they are those of another network
        network = initial_weights.specification(board.key.backbone, weights)
        return board.key.fingerprint == fingerprint.fingerprint(board.track, network)

    fitting = [board for board in boards if backbone in (None, board.key.backbone)]
    if track is None:
        if weights is not None:
            fitting = [board for board in fitting if present(board)]
        if not fitting:
            of = f" on backbone '{backbone}'" if boards and backbone else ""
            raise MissingCellsError(f"This home has no records{of}.")
        fitting.sort(key=lambda board: not present(board))
        return next((b for b in fitting if complete(b, names, view)), fitting[0])
    chosen = tracks.load(track)
    network = initial_weights.specification(backbone or chosen.default_backbone, weights)
    wanted = fingerprint.fingerprint(chosen, network)
    for board in fitting:
        if board.key.fingerprint == wanted:
            return board
    stale = sum(b.fits.height for b in fitting if b.key.track == chosen.name)
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
    """The track as `bench run` takes it: a name, or the path of a track file."""
    from bench.protocol import tracks

    return track if track in tracks.names() or track.endswith(".toml") else f"{track}.toml"


def _content(result: "MethodComparison") -> dict[str, Any]:
    from leaderboard.tables import comparison

    labels = result.labels
    others = [label for i, label in enumerate(labels) if i != result.reference]
    content: dict[str, Any] = {
        "track": result.board.key.track,
        "backbone": result.board.key.backbone,
        "fingerprint": result.board.key.fingerprint,
        "protocol": result.protocol.name,
        "metric": result.metric.name,
        "seeds": result.seeds,
        "reference_method": labels[result.reference],
        "comparisons": [
            {"method": a.label, "verdict": a.verdict}
            | {"gain_percent": asdict(a.gain) if a.gain else None}
            | _comparison(a.comparison)
            for a in result.against
        ],
        "ranking": [
            asdict(r) | {"method": labels[r.method], "mean_rank": result.mean_ranks[r.method]}
            for r in result.ranked
        ],
        "averages": comparison.averages(result),
        "groups": comparison.groups(result),
        "cells": [
            {
                "train": cell.train,
                "percent": cell.percent,
                "test": cell.test,
                "scores": dict(zip(labels, map(asdict, cell.scores), strict=True)),
                "differences": {
                    label: _comparison(difference)
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


def _comparison(comparison: "Comparison") -> dict[str, Any]:
    return asdict(comparison) | {
        "resolved": comparison.resolved,
        "p_value": comparison.p_value,
        "probability_better": comparison.probability_better,
    }
