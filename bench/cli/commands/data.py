"""`bench data`: make, show, check and describe the samples."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import HomeOption, JsonOption

if TYPE_CHECKING:
    from bench.data.inspection import Inspection
    from bench.data.layout import Split
    from bench.data.summary import Summary
    from bench.protocol.spec import Data

app = typer.Typer(help="Make, show, check and describe the samples.", no_args_is_help=True)

TrackOption = Annotated[
    str, typer.Option("--track", "-t", help="A track with generated data, or a TOML file.")
]
LayoutOption = Annotated[
    str | None,
    typer.Option(
        "--track",
        "-t",
        help="Expect this track's numbers of samples. Default: what the folder's manifests say, "
        "else the official release.",
        show_default=False,
    ),
]
DatasetsOption = Annotated[
    list[str] | None,
    typer.Option("--dataset", "-d", help="Only this one; may be repeated.", show_default=False),
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
QuietOption = Annotated[bool, typer.Option(help="Print a few plain lines only.")]
Folder = Annotated[Path, typer.Argument(help="The folder that holds FlatVel_A, Style_B, …")]


@app.command("make")
def make(
    track: TrackOption = "small",
    dataset: DatasetsOption = None,
    device: DeviceOption = "auto",
    home: HomeOption = None,
    quiet: QuietOption = False,
) -> None:
    """Generate maps and simulate their records; resumes where an earlier call stopped."""
    from bench.cli import terminal
    from bench.protocol import tracks
    from bench.runner import data as run_data
    from bench.runner.workspace import Workspace, default
    from bench.training import numerics

    chosen, place, where = tracks.load(track), Workspace(home or default()), numerics.choose(device)
    root = run_data.folder(place, chosen)
    with terminal.progress(quiet=quiet) as progress:
        for name in _known(dataset):
            run_data.make_dataset(
                name, workspace=place, track=chosen, device=where.device, progress=progress
            )
            progress.say(f"{name}: {chosen.data.train_samples(name)} + {chosen.data.test} samples")
    typer.echo(f"Data of track {chosen.name}: {root}")


@app.command("show")
def show(
    dataset: Annotated[str, typer.Argument(help="Such as Style_B.")],
    path: Annotated[
        Path | None,
        typer.Argument(help="Folder of data files. Default: the track's generated data."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Default: DATASET.png.", show_default=False)
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=50, help="Samples.")] = 4,
    split: Annotated[str, typer.Option(help="train or test.")] = "test",
    track: Annotated[
        str | None,
        typer.Option(
            "--track",
            "-t",
            help="A track, or a TOML file. Default: small; with PATH, the files there.",
            show_default=False,
        ),
    ] = None,
    device: DeviceOption = "auto",
    home: HomeOption = None,
) -> None:
    """Draw maps and shot records as a PNG; samples of a track need no files on disk."""
    from bench.data import catalogue, drawing, examples, generate
    from bench.errors import ConfigError, DataError
    from bench.protocol import tracks
    from bench.runner import data as run_data
    from bench.runner.workspace import to_read
    from bench.training import numerics

    (name,) = _known([dataset])
    if split not in ("train", "test"):
        raise ConfigError(f"--split {split}: choose train or test.")
    part: Split = "train" if split == "train" else "test"
    chosen = tracks.load(track or tracks.DEFAULT)
    root = path or run_data.folder(to_read(home), chosen)
    data = None if path and not track else chosen.data
    if path is None and generate.missing(root, name, chosen.data):
        where = numerics.choose(device).device
        numbers, (maps, records) = examples.simulate_samples(
            name, chosen, part, count, device=where
        )
        origin = f"track {chosen.name}, simulated now"
    else:
        shelf = catalogue.shelf(root, name, data)
        if shelf is None:
            raise DataError(f"{root}: there is no folder of {name}.")
        numbers, (maps, records) = examples.read_samples(shelf, part, count)
        origin = str(shelf.folder)
    captions = [
        f"{split} sample {number}: {v.min():.0f} to {v.max():.0f} m/s, mean {v.mean():.0f} m/s; "
        f"pressure {r.min():.1f} to {r.max():.1f}"
        for number, v, r in zip(numbers, maps, records, strict=True)
    ]
    target = out or Path(f"{name}.png")
    drawing.draw(f"{name} ({origin})", captions, maps, records, target)
    typer.echo(f"Wrote {target}")


@app.command("check")
def check(
    path: Folder,
    dataset: DatasetsOption = None,
    track: LayoutOption = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Look at the values of four samples a file only.")
    ] = False,
    thorough: Annotated[
        bool,
        typer.Option("--thorough", help="Simulate the records of 25 samples a file, not of three."),
    ] = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Check files: what is present, missing or faulty. Exit code 1 if anything is wrong."""
    from bench.cli import terminal
    from bench.data import inspection
    from bench.errors import ConfigError
    from bench.training import numerics

    if quick and thorough:
        raise ConfigError("--quick and --thorough exclude each other.")
    data, where = _expected(path, track), numerics.choose(device).device
    depth: inspection.Depth = "quick" if quick else "thorough" if thorough else "full"
    with terminal.progress(quiet=quiet or as_json) as progress:
        reports = [
            inspection.inspect(path, name, data, depth=depth, device=where, progress=progress)
            for name in _known(dataset)
        ]
    found = [report for report in reports if report.folder]
    absent = [report.dataset for report in reports if not report.folder]
    ok = bool(found) and all(r.ok for r in found) and not (dataset and absent)
    if as_json:
        rows = [_report(report) for report in reports]
        typer.echo(json.dumps({"path": str(path), "ok": ok, "datasets": rows}, indent=1))
    else:
        _print_reports(reports)
        _advise(path, found, data)
        if not found:
            typer.echo(f"{path} holds no dataset; name the folder that holds FlatVel_A, Style_B, …")
        elif dataset and absent:
            typer.echo(f"Asked for, but not there: {', '.join(absent)}.")
        elif ok:
            typer.echo("Nothing is wrong with what is there.")
    raise typer.Exit(0 if ok else 1)


@app.command("track")
def write_track(
    path: Folder,
    out: Annotated[Path, typer.Option("--out", "-o", help="The track file to write (TOML).")],
    test_percent: Annotated[
        int, typer.Option(min=1, max=50, help="Part of each file, at its end, for testing.")
    ] = 20,
    like: Annotated[
        str, typer.Option("--like", help="The track that gives the budgets.")
    ] = "openfwi",
) -> None:
    """Write a track for real files that are not the official release: which ones, how split."""
    from bench.atomic import write_atomically
    from bench.data import inventory
    from bench.errors import ConfigError
    from bench.protocol import tracks

    _expected(path, None)
    if out.suffix != ".toml" or out.exists():
        reason = "is there already" if out.exists() else "does not end in .toml"
        raise ConfigError(f"{out} {reason}; choose another --out.")
    chosen = inventory.track(path, tracks.load(like), name=out.stem, test_percent=test_percent)
    write_atomically(out, inventory.toml(chosen).encode())
    for name, files in (chosen.data.files or {}).items():
        tested = sum(map(chosen.data.tested, files.values()))
        typer.echo(f"{name}: {chosen.data.train_samples(name):,} + {tested:,} samples")
    typer.echo(f"Wrote {out}; use it with: bench run --track {out} --data {path}")


@app.command("stats")
def stats(
    path: Folder,
    dataset: DatasetsOption = None,
    track: LayoutOption = None,
    samples: Annotated[
        int | None,
        typer.Option(min=1, help="Samples, evenly spaced. Default: all.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Mean, deviation and range of records and maps, and the maps' spatial information."""
    from dataclasses import asdict

    from bench.cli import terminal
    from bench.data import catalogue, summary

    wanted = _known(dataset)
    data = _expected(path, track)
    shelves = [s for s in catalogue.shelves(path, data) if s.dataset in wanted]
    with terminal.progress(quiet=quiet or as_json) as progress:
        rows = [summary.summarise(s, limit=samples, progress=progress) for s in shelves]
    if as_json:
        typer.echo(json.dumps({"path": str(path), "datasets": [asdict(r) for r in rows]}, indent=1))
    else:
        _print_summaries(rows)


def _known(datasets: list[str] | None) -> tuple[str, ...]:
    """The datasets asked for, or all of them. Raises `UnknownNameError`."""
    from bench.data.layout import dataset_named
    from bench.protocol.spec import DATASETS

    return tuple(dataset_named(name) for name in datasets) if datasets else DATASETS


def _expected(path: Path, track: str | None) -> "Data | None":
    """What the folder should hold, if a track says so. Raises `DataError` for no folder."""
    from bench.errors import DataError
    from bench.protocol import tracks

    if not path.is_dir():
        raise DataError(f"{path} is not a folder; name the one that holds FlatVel_A, Style_B, …")
    return tracks.load(track).data if track else None


def _advise(path: Path, reports: "list[Inspection]", data: "Data | None") -> None:
    """Where real files are not those expected: what is there, and how to use it."""
    from bench.data import inventory
    from bench.data.catalogue import OFFICIAL
    from bench.data.npy import FileError

    of_layout = {"missing", "unpaired", "count", "dtype"}
    for report in reports:
        faults = {error.fault for error in report.errors if isinstance(error, FileError)}
        if report.generated or not faults & of_layout:
            continue
        if advice := inventory.advice(path, report.dataset, data or OFFICIAL):
            typer.echo(advice)


def _report(report: "Inspection") -> dict[str, object]:
    from bench.data.npy import FileError

    return {
        "dataset": report.dataset,
        "folder": str(report.folder) if report.folder else None,
        "generated": report.generated,
        "files": report.files,
        "files_expected": report.files_expected,
        "train": report.train,
        "test": report.test,
        "simulated": report.simulated,
        "ok": report.ok,
        "errors": [
            {
                "fault": error.fault if isinstance(error, FileError) else "folder",
                "file": str(error.path) if isinstance(error, FileError) else None,
                "sample": error.sample if isinstance(error, FileError) else None,
                "message": str(error),
            }
            for error in report.errors
        ],
    }


_LINES_OF_ERRORS = 20


def _print_reports(reports: "list[Inspection]") -> None:
    from bench.cli.terminal import table

    table(
        ("dataset", "source", "#files", "#train", "#test", "#simulated", "verdict"),
        [
            (
                report.dataset,
                "generated" if report.generated else "files",
                f"{report.files:,} of {report.files_expected:,}",
                f"{report.train:,}",
                f"{report.test:,}",
                f"{report.simulated:,}",
                "right" if report.ok else f"{len(report.errors):,} wrong",
            )
            if report.folder
            else (report.dataset, "–", "–", "–", "–", "–", "not there")
            for report in reports
        ],
    )
    for report in reports:
        for error in report.errors[:_LINES_OF_ERRORS]:
            typer.echo(str(error))
        if (more := len(report.errors) - _LINES_OF_ERRORS) > 0:
            typer.echo(f"{report.dataset}: and {more:,} more; --json lists all.")


def _print_summaries(rows: "list[Summary]") -> None:
    from bench.cli.terminal import table

    table(
        (
            *("dataset", "#samples", "#mean m/s", "#std", "#min", "#max"),
            *("#spatial information", "#mean-map MAE"),
        ),
        [
            (
                row.dataset,
                f"{row.samples:,}",
                f"{row.velocity_mean_mps:.1f}",
                f"{row.velocity_std_mps:.1f}",
                f"{row.velocity_min_mps:.0f}",
                f"{row.velocity_max_mps:.0f}",
                f"{row.spatial_information_mps:.1f}",
                "–" if row.mean_map_mae is None else f"{row.mean_map_mae:.4f}",
            )
            for row in rows
        ],
        title="Velocity maps",
    )
    table(
        ("dataset", "#shot", "#mean", "#std", "#min", "#max"),
        [
            (row.dataset, str(shot + 1), f"{mean:.5f}", f"{std:.4f}", f"{low:.2f}", f"{high:.2f}")
            for row in rows
            for shot, (mean, std, low, high) in enumerate(
                zip(
                    row.pressure_mean,
                    row.pressure_std,
                    row.pressure_min,
                    row.pressure_max,
                    strict=True,
                )
            )
        ],
        title="Seismic records, by shot",
    )
    typer.echo(
        "Spatial information: mean Sobel gradient magnitude of the maps, m/s per cell, as "
        "scikit-image scales it. Mean-map MAE: of predicting the mean training map for every test "
        "sample, on [-1, 1]."
    )
