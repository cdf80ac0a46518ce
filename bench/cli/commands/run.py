"""`bench run`: plan, estimate, do, show."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import HomeOption

if TYPE_CHECKING:
    from bench.protocol.protocols import Protocol
    from bench.records.record import Record
    from bench.runner.estimate import Estimate
    from bench.runner.plan import Plan


def run(
    method: Annotated[
        list[str] | None,
        typer.Option("--method", "-m", help="One, several (fft,lora or repeated) or all."),
    ] = None,
    protocol: Annotated[
        str | None, typer.Option("--protocol", "-p", help="See `bench protocols`.")
    ] = None,
    track: Annotated[
        str | None,
        typer.Option("--track", "-t", help="See `bench tracks`, or a TOML file. Default: mini."),
    ] = None,
    seeds: Annotated[str | None, typer.Option(help="Such as 0,1,2. Default: the track's.")] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="A method's option: rank=8, or lora.rank=8 for one of several."),
    ] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(
            help="For protocol sweep: an option's values, rank=4,8; repeat it, or add more words."
        ),
    ] = None,
    backbone: Annotated[str, typer.Option(help="The network.")] = "inversionnet",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    home: HomeOption = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of the real files, for track openfwi.")
    ] = None,
    checkpoint_share: Annotated[
        float,
        typer.Option(
            envvar="BENCH_CHECKPOINT_SHARE",
            min=0.0,
            help="Part of the training time that may go into checkpoints.",
        ),
    ] = 0.01,
    stock: Annotated[
        bool,
        typer.Option(
            "--stock",
            help="Torch's layers instead of the memory-frugal ones, for comparison; best in a "
            "--home of its own.",
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option(help="Show the plan and stop.")] = False,
    quiet: Annotated[bool, typer.Option(help="Plain lines, and few.")] = False,
    more_grid: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
) -> None:
    """Train and score methods under a protocol; what is already recorded is not repeated."""
    from bench.cli import terminal
    from bench.cli.interrupts import interruptible
    from bench.plugins import options, registry
    from bench.protocol import protocols, tracks
    from bench.runner import plan
    from bench.runner.context import Session
    from bench.runner.workspace import Home, default
    from bench.training import numerics

    chosen_track = tracks.load(track or ("smoke" if protocol == "smoke" else "mini"))
    chosen_protocol = protocols.get(protocol or chosen_track.default_protocol)
    seed_list = _seeds(seeds) if seeds else chosen_track.seeds
    words = _grid_words(grid, more_grid, chosen_protocol)
    installed = registry.load()
    named = options.methods(method or [], installed, chosen_protocol)
    everything = options.ALL in (method or [])
    with interruptible(), terminal.progress(quiet=quiet) as progress:
        for problem in installed.problems:
            progress.say(f"Plugin {problem.name} ({problem.distribution}): {problem.reason}")
        session = Session(
            home=Home(home or default()),
            track=chosen_track,
            backbone=backbone,
            numerics=numerics.choose(device, frugal=not stock),
            progress=progress,
            command=("bench", *sys.argv[1:]),
            data_folder=data,
            checkpoint_share=checkpoint_share,
        )
        choices, left_out = options.choose(named, setting or [], backbone, skip_unfit=everything)
        candidates: list[options.Choice] = []
        if chosen_protocol.sweeps:
            lenient = everything or not chosen_protocol.only_sweeps
            candidates, more = options.grids(choices, words, backbone, skip_unfit=lenient)
            left_out += more
        for line in left_out:
            progress.say(line)
        todo = plan.plan(chosen_protocol, choices, seed_list, session, candidates=candidates)
        _announce(todo, session.home.folder, stock, progress.say)
        if not todo.tasks:
            progress.say("Nothing to do: everything is recorded.")
        else:
            from bench.runner import estimate, machine_speeds

            _tell(estimate.estimate(todo, session, machine_speeds.measured(session)), progress.say)
        if dry_run:
            return
        from bench.runner import conductor as conductor

        ran = conductor.conduct(todo, session) if todo.tasks else []
    _results([*todo.done, *ran])
    failed = [record for record in ran if record.status != "done"]
    if failed:
        for record in failed:
            typer.echo(f"Failed: {record.spec.title}: {record.error}", err=True)
        raise typer.Exit(1)


def _grid_words(
    grid: list[str] | None, more: list[str] | None, protocol: "Protocol"
) -> tuple[str, ...]:
    """All words of ``--grid rank=4,8 alpha=8,16``: those after the first arrive as arguments."""
    from bench.errors import ConfigError

    if grid and not protocol.sweeps:
        raise ConfigError("--grid is for --protocol sweep; set one config's options with --set.")
    if more and not (grid and all("=" in word for word in more)):
        raise ConfigError(f"Unexpected word '{more[0]}'; see `bench run --help`.")
    return tuple((grid or []) + (more or []))


def _seeds(text: str) -> tuple[int, ...]:
    from bench.errors import ConfigError

    try:
        seeds = tuple(dict.fromkeys(int(word) for word in text.split(",")))
    except ValueError:
        seeds = ()
    if not seeds or min(seeds) < 0:
        raise ConfigError(f"--seeds {text}: write whole numbers from 0 on, such as 0,1,2.")
    return seeds


def _announce(todo: "Plan", home: Path, stock: bool, say: Callable[[str], None]) -> None:
    say(f"Home {home}")
    say(
        f"To do: simulate {_count(todo.records_to_simulate, 'record')}, "
        f"pretrain {_count(todo.foundations, 'foundation')}, train {_count(todo.fits, 'fit')}, "
        f"score {_count(todo.cells, 'cell')}. Reused: {_count(len(todo.done), 'recorded fit')}."
    )
    others = sum(record.determinism.frugal == stock for record in todo.done)
    if others:
        say(
            f"Note: {_count(others, 'reused fit')} ran {'without' if stock else 'with'} --stock; "
            "scores differ by rounding only, but time and memory do not compare. Use another "
            "--home to have both."
        )
    if todo.strays:
        say(
            f"Note: {_count(todo.strays, 'recorded fit')} started from another foundation than the "
            "one in this home; delete their folders below runs to have them repeated."
        )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _tell(cost: "Estimate", say: Callable[[str], None]) -> None:
    from bench.cli.terminal import duration, size

    say(
        f"Estimate: {duration(cost.seconds)} (simulation {duration(cost.simulate_seconds)}, "
        f"training {duration(cost.train_seconds)}, scoring {duration(cost.score_seconds)}), "
        f"memory {size(cost.memory_bytes)}, disk {size(cost.disk_bytes)}."
    )


def _results(records: "list[Record]") -> None:
    from bench.cli.tables import pretraining, results, sweep

    done = [record for record in records if record.status == "done"]
    tested = [record for record in done if record.spec.part == "test"]
    results.show(tested)
    pretraining.show(tested)
    sweep.show([record for record in done if record.spec.part == "validation"])
