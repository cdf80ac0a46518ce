"""`bench speed`: how fast this machine trains, scores, simulates and reads."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bench.cli.options import HomeOption, JsonOption, PrecisionOption

if TYPE_CHECKING:
    from bench.speed.suite import Figure


def speed(
    method: Annotated[
        list[str] | None,
        typer.Option("--method", "-m", help="One, several or all.", show_default="all"),
    ] = None,
    batch: Annotated[int, typer.Option(min=2, help="Samples in a training step.")] = 16,
    rounds: Annotated[int, typer.Option(min=1, help="Timed rounds of each task.")] = 5,
    against: Annotated[
        Literal["reference"] | None,
        typer.Option(help="'reference': also a plain loop as in public scripts."),
    ] = None,
    ablate: Annotated[
        bool, typer.Option("--ablate", help="Also measure with each optimisation turned off.")
    ] = False,
    stock: Annotated[
        bool, typer.Option("--stock", help="Torch's layers instead of the memory-frugal ones.")
    ] = False,
    backbone: Annotated[
        str, typer.Option("--backbone", "-b", help="See `bench backbones`.")
    ] = "inversionnet",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    precision: PrecisionOption = "auto",
    save: Annotated[
        Path | None,
        typer.Option(
            help="A JSON file for the training loops, beside the reference loop: `bench report` "
            "shows those in the folder `speed` of the home and of the published records.",
            show_default=False,
        ),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure speed and memory on this machine; every ratio is from this one process run.

    The speeds are kept in the home folder for the estimates of `bench run`. Save and publish them
    from a machine on which nothing else runs.
    """
    from bench.cli import terminal
    from bench.errors import ConfigError
    from bench.models import backbones
    from bench.plugins import options, registry
    from bench.records import measurement
    from bench.runner import machine_precision, machine_speeds
    from bench.runner.workspace import Workspace, default
    from bench.speed import measurement_files, suite
    from bench.training import numerics, probe

    if save is not None:
        measurement_files.check(save, against_reference=against is not None, rounds=rounds)
    kept = Workspace(home or default())
    started = datetime.now(UTC)
    words = method or [registry.ALL]
    fitting, left_out = options.choose(
        options.methods(words, options.load(words)), [], backbone, skip_unfit=registry.ALL in words
    )
    choices = [choice for choice in fitting if choice.installed.method.traits.trains]
    still = [c.installed.method.name for c in fitting if c not in choices]
    left_out += [f"{name} left out: it trains nothing." for name in still]
    if not choices:
        raise ConfigError(
            f"There is no training to time: {', '.join(still)} trains nothing; "
            "name a method that trains with --method."
        )
    settings = numerics.choose(device, frugal=not stock, precision=precision)
    with settings.active(), terminal.progress(quiet=as_json) as progress:
        for line in left_out if not as_json else ():
            progress.say(line)
        if precision == numerics.AUTO:
            settings, _ = machine_precision.fastest(
                settings,
                backbone=backbones.spec(backbone),
                batch=batch,
                workspace=kept,
                progress=progress,
            )
        figures = suite.measure(
            [choice.installed for choice in choices],
            backbone=backbone,
            batch=batch,
            rounds=rounds,
            numerics=settings,
            against_reference=against is not None,
            ablate=ablate,
            progress=progress,
        )
    machine_speeds.store(kept, backbone, settings, suite.speeds(figures, batch))
    told = {
        "machine": probe.machine().model_dump(mode="json"),
        "versions": probe.versions(),
        "settings": settings.describe().model_dump(mode="json"),
        "batch": batch,
        "rounds": rounds,
        "figures": [_row(figure, figures) for figure in figures],
    }
    if as_json:
        typer.echo(json.dumps(told, indent=1))
    else:
        show(told)
    if save is not None:
        about = measurement_files.of_figures(
            figures,
            choices,
            backbone=backbone,
            batch=batch,
            numerics=settings,
            command=("bench", *sys.argv[1:]),
            started=started,
        )
        measurement.write(about, save)
        typer.echo(f"Saved: {save}", err=as_json)


def show(told: dict[str, Any]) -> None:
    """Print the measurements that `--json` writes as tables, and what limits the machine."""
    from bench.cli import terminal
    from bench.speed import limits

    settings = told["settings"]
    layers = "" if settings["frugal"] else ", stock layers"
    typer.echo(
        f"{told['machine']['gpu'] or told['machine']['processor']}: {settings['device']}, "
        f"{settings['precision']}, {settings['threads']} threads{layers}, batch {told['batch']}; "
        f"median of {told['rounds']} interleaved turns, spread (slowest − fastest) / median. "
        "Peak counts what a step allocates; × is relative to the reference loop."
    )
    terminal.table(
        (
            "what",
            "#a second",
            "#spread",
            "#× reference",
            "#saved/sample",
            "#peak of a step",
            "#GFLOP/sample",
            "#of matrix ceiling",
            "#of memory ceiling",
        ),
        [_cells(row) for row in told["figures"]],
    )
    for sentence in limits.sentences(told["figures"]):
        typer.echo(sentence)
    kept = {row["name"]: row["prefix_bytes"] for row in told["figures"] if row["prefix_bytes"]}
    if kept:
        each = ", ".join(f"{name} ({terminal.size(size)} a sample)" for name, size in kept.items())
        typer.echo(
            "Steps begin at activations that the first epoch of a fit computes and keeps: "
            f"{each}. Figures are those of the epochs after it."
        )


def _row(figure: "Figure", figures: "list[Figure]") -> dict[str, Any]:
    from bench.speed import suite

    named = {other.name: other for other in figures}
    reference = named.get(f"reference {figure.kind}")
    row: dict[str, Any] = {
        "name": figure.name,
        "unit": figure.unit,
        "per_second": figure.per_second,
        "spread": figure.timing.spread,
        "seconds": figure.timing.seconds,
        "times_reference": figure.per_second / reference.per_second if reference else None,
        "prefix_bytes": figure.prefix_bytes,
    }
    if counts := figure.counts:
        single = figure.kind == "score" and suite.SINGLE_CEILING in named
        product = named[suite.SINGLE_CEILING if single else suite.MATRIX_CEILING]
        row |= {
            "saved_bytes_per_sample": counts.saved_bytes_per_sample,
            "peak_bytes": counts.peak_bytes,
            "flops_per_sample": counts.flops_per_sample,
            "matrix_ceiling_fraction": counts.flops_per_sample
            * figure.per_second
            / product.per_second,
            "memory_ceiling_fraction": counts.moved_bytes_per_sample
            * figure.per_second
            / named[suite.MEMORY_CEILING].per_second,
        }
        if reference and reference.counts:
            plain = reference.counts
            row |= {
                "saved_times_reference": counts.saved_bytes_per_sample
                / plain.saved_bytes_per_sample,
                "peak_times_reference": counts.peak_bytes / plain.peak_bytes,
            }
    return row


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    from bench.cli.terminal import size

    def bytes_(key: str, ratio: str) -> str:
        if key not in row:
            return "–"
        return size(row[key]) + (f" ({row[ratio]:.2f}×)" if ratio in row else "")

    def percent(key: str) -> str:
        return f"{100 * row[key]:.0f} %" if key in row else "–"

    times = row["times_reference"]
    return (
        row["name"],
        f"{_amount(row['per_second'])} {row['unit']}",
        f"{100 * row['spread']:.0f} %",
        f"{times:.2f}" if times else "–",
        bytes_("saved_bytes_per_sample", "saved_times_reference"),
        bytes_("peak_bytes", "peak_times_reference"),
        f"{row['flops_per_sample'] / 1e9:.1f}" if "flops_per_sample" in row else "–",
        percent("matrix_ceiling_fraction"),
        percent("memory_ceiling_fraction"),
    )


def _amount(value: float) -> str:
    for limit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if value >= limit:
            return f"{value / limit:.1f} {letter}"
    return f"{value:.1f}"
