"""`bench run`: plan, estimate, train and score, print results."""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli import finished_commands
from bench.cli.options import (
    BackboneOption,
    HomeOption,
    PercentOption,
    PrecisionOption,
    whole_numbers,
)

if TYPE_CHECKING:
    from bench.protocol.protocols import Protocol
    from bench.records.record import Record
    from bench.runner.context import RunContext
    from bench.runner.plan import Plan


def run(
    ctx: typer.Context,
    method: Annotated[
        list[str] | None,
        typer.Option("--method", "-m", help="Methods: fft,lora, or repeated, or all."),
    ] = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            "--protocol",
            "-p",
            help="One or several, id,ood: see `bench protocols`. Default: ood; on track smoke, "
            "smoke, which is nearly all of them.",
        ),
    ] = None,
    track: Annotated[
        str | None,
        typer.Option("--track", "-t", help="See `bench tracks`, or a TOML file. Default: small."),
    ] = None,
    seeds: Annotated[str | None, typer.Option(help="Such as 0,1,2. Default: the track's.")] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="A method's option: rank=8, or lora.rank=8 for one of several."),
    ] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(
            help="Protocol sweep: values of an option, rank=4,8; repeat it, or add words."
        ),
    ] = None,
    backbone: BackboneOption = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="A local checkpoint (torch file or safetensors) to start pretraining from: what "
            "fits replaces random weights. For caformer_unet, timm's caformer_s18.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    precision: PrecisionOption = "auto",
    pretrain_devices: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="GPUs, or processes on a CPU, that share a pretraining whose track has shards.",
            show_default=False,
        ),
    ] = None,
    home: HomeOption = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of the real files, for track openfwi.")
    ] = None,
    checkpoint_share: Annotated[
        float,
        typer.Option(
            envvar="BENCH_CHECKPOINT_SHARE",
            min=0.0,
            help="Share of the training time that checkpoints may take.",
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
    batchnorm: Annotated[
        str | None,
        typer.Option(
            help="One BatchNorm policy for all methods: frozen, statistics or both. Default: each "
            "method's own.",
            show_default=False,
        ),
    ] = None,
    percent: PercentOption = None,
    tuned: Annotated[
        bool,
        typer.Option(
            "--tuned",
            help="Use the learning-rate factors that `--protocol tuning` found best on validation "
            "data.",
        ),
    ] = False,
    test_curve: Annotated[
        bool,
        typer.Option(
            "--test-curve",
            help="Also record each epoch's error on the test data: what choosing the best epoch "
            "there would flatter a method by. Takes more time; no choice sees it.",
        ),
    ] = False,
    again: Annotated[
        bool,
        typer.Option(
            "--again",
            help="Repeat fits recorded with other code of the same version or from another "
            "foundation, or whose weights are not those of their record.",
        ),
    ] = False,
    workers: Annotated[
        str | None,
        typer.Option(
            help="Worker processes: a number, gpus (one a GPU) or auto. Default: this process "
            "alone.",
            show_default=False,
        ),
    ] = None,
    slurm: Annotated[
        list[str] | None,
        typer.Option(
            help="Run the workers as a Slurm array: options of sbatch, such as "
            "partition=gpu,time=4:00:00,gres=gpu:1.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Show the plan and stop.")] = False,
    quiet: Annotated[bool, typer.Option(help="Print a few plain lines only.")] = False,
    more_grid: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
) -> None:
    """Train and score methods under a protocol; what is already recorded is not repeated."""
    from bench.protocol import tracks

    smoke = protocol == ["smoke"]
    chosen_track = tracks.load(track or ("smoke" if smoke else tracks.DEFAULT))
    finished = finished_commands.of(ctx, chosen_track, home)
    if finished and (kept := finished.recall()):
        return finished_commands.tell(*kept, quiet=quiet)

    from bench.cli import announcement, terminal
    from bench.cli.interrupts import interruptible
    from bench.cli.worker_options import WorkerOptions
    from bench.models import backbones
    from bench.plugins import options, registry
    from bench.progress import Silent
    from bench.protocol import protocols
    from bench.runner import execution, initial_weights, plan, pretraining, stored_plan, tuning
    from bench.runner import slurm as scheduler
    from bench.runner import workers as worker_processes
    from bench.runner.context import RunContext
    from bench.runner.workspace import Workspace, default
    from bench.training import numerics
    from bench.training.group import joined

    chosen_protocol = protocols.together(protocol or [chosen_track.default_protocol])
    if percent is not None:
        chosen_protocol = protocols.at(chosen_protocol, whole_numbers("--percent", percent))
    network = backbone or chosen_track.default_backbone
    seed_list = whole_numbers("--seeds", seeds) if seeds else chosen_track.seeds
    words = _grid_words(grid, more_grid, chosen_protocol)
    installed = options.load(method or [])
    named = options.methods(method or [], installed, chosen_protocol)
    named = options.with_levels(named, installed, chosen_protocol)
    everything = registry.ALL in (method or [])
    worker_options = WorkerOptions.of(workers, slurm, device, home)
    where = "cpu" if worker_options.slurm else device
    settings = numerics.choose(where, frugal=not stock, precision=precision)
    devices = pretraining.check_devices(pretrain_devices, chosen_track, settings)
    with (
        interruptible(),
        terminal.progress(quiet=quiet) as progress,
        settings.active(),
        joined(settings.device) as group,
    ):
        for problem in (*installed.problems, *installed.meddlers):
            progress.say(f"Plugin {problem.name} ({problem.distribution}): {problem.reason}")
        workspace, network_spec = Workspace(home or default()), backbones.spec(network)
        if weights is not None:
            found = initial_weights.match(weights, network)
            progress.say(initial_weights.summary(found, weights, network))
            network_spec = initial_weights.keep(found, workspace, network_spec)
        context = RunContext(
            workspace=workspace,
            track=chosen_track,
            backbone=network_spec,
            numerics=settings,
            progress=progress if group.leads else Silent(),
            command=("bench", *sys.argv[1:]),
            data_folder=data,
            checkpoint_share=checkpoint_share,
            test_curve=test_curve,
            pretrain_devices=devices,
            group=group,
        )
        if not group.leads:
            return pretraining.assist(context)
        set_words = [*(setting or []), *([f"batchnorm={batchnorm}"] if batchnorm else [])]
        choices, left_out = options.choose(named, set_words, network, skip_unfit=everything)
        if tuned:
            tuning_protocol = protocols.get("tuning")
            choices = [tuning.tuned(choice, tuning_protocol, context) for choice in choices]
        candidates: list[options.Choice] = []
        if chosen_protocol.sweeps:
            lenient = everything or not chosen_protocol.only_sweeps
            candidates, more = options.grids(
                choices,
                words,
                network,
                skip_unfit=lenient,
                common=chosen_protocol.grid,
                own=chosen_protocol.own_grids,
            )
            left_out += more
        planned = partial(
            plan.plan, chosen_protocol, choices, seed_list, context, candidates=candidates
        )
        todo = planned(again=again)
        said = left_out + announcement.plan(todo, context, stock=stock)
        for line in said:
            progress.say(line)
        if todo.new_backbone:
            from bench import conformance

            conformance.check_backbone_cheaply(backbones.get(network).backbone)
        if todo.jobs and worker_options.slurm is None:  # whose machines are asked instead
            _measure_and_estimate(todo, context, precision)
        if dry_run:
            return
        ran: list[Record] = []
        if todo.jobs:
            decided = precision if worker_options.slurm else context.numerics.precision
            stored = stored_plan.StoredPlan.of(todo, context, device=device, precision=decided)
            stored_plan.write(stored, workspace)
            context.plan_id = stored.id
            if worker_options.slurm:
                ids = scheduler.submit(
                    stored, workspace, worker_options.slurm, worker_options.tasks
                )
                return announcement.submitted(ids, worker_options.tasks, todo, progress)
            if worker_options.shares:
                samples = execution.samples_by_job(todo, context)
                ran = worker_processes.run_workers(
                    stored, worker_options.shares, workspace, progress, samples
                )
            else:
                ran = execution.execute_plan(todo, context)
        failed = [record for record in ran if record.status != "done"]
        if finished and not (failed or installed.problems or installed.meddlers):
            left = todo
            if todo.jobs:
                finished, left = finished.anew(), planned()
                said = left_out + announcement.plan(left, context, stock=stock)
            if finished and not left.jobs:
                finished.remember(said, left.done)
    from bench.cli.tables import results

    results.show([r for r in (*todo.done, *ran) if r.status == "done"])
    if failed:
        for record in failed:
            typer.echo(f"Failed: {record.spec.title}: {record.error}", err=True)
        raise typer.Exit(1)


def _measure_and_estimate(todo: "Plan", context: "RunContext", precision: str) -> None:
    """Settle the precision to train in, and say what the plan will take on this machine."""
    from bench.cli import announcement
    from bench.runner import data, estimate, machine_precision, machine_speeds, plan

    data.check_layout(plan.datasets(todo.jobs, todo.untrained), context)
    reason = machine_precision.decide(context, asked=precision)
    announcement.precision(todo, context, reason)
    speeds = machine_speeds.measured(context)
    announcement.estimate(estimate.estimate(todo, context, speeds), context.progress.say)


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
