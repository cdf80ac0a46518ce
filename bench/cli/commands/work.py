"""`bench work`: execute a plan of the home beside other workers."""

import os
from contextlib import ExitStack
from typing import Annotated

import typer

from bench.cli.options import HomeOption


def work(
    plan: Annotated[str, typer.Argument(help="Id of a plan, see `bench status`.")],
    home: HomeOption = None,
    device: Annotated[
        str | None,
        typer.Option(help="Instead of the plan's: auto, cpu, cuda or cuda:N.", show_default=False),
    ] = None,
    only_foundations: Annotated[
        bool, typer.Option("--only-foundations", help="Make data and foundations, then stop.")
    ] = False,
    grace: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="In a Slurm task: seconds from the warning signal (USR2) in which the epoch may "
            "end, before a checkpoint and `scontrol requeue`.",
            show_default=False,
        ),
    ] = None,
    report: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Execute a plan as one of its workers; `bench run --workers` and `--slurm` start these."""
    from bench.cli import terminal
    from bench.cli.interrupts import interruptible
    from bench.errors import BenchError, describe
    from bench.progress import Progress
    from bench.runner import parent_watch, slurm, stored_plan, worker
    from bench.runner.messages import Reporter
    from bench.runner.workspace import Workspace, default

    stop = worker.Stop()
    progress: Progress
    reporter: Reporter | None = None
    with ExitStack() as stack:
        if report is None:
            shown = terminal.progress(quiet=False)
            stack.enter_context(shown)
            progress = shown
        else:
            pipe = stack.enter_context(os.fdopen(report, "w", encoding="utf-8"))
            reporter = Reporter(pipe)
            progress = reporter
            parent_watch.end_with_parent()
        stack.enter_context(interruptible())
        if grace is not None:
            stack.enter_context(slurm.requeued_when_stopped(stop, grace, progress))
        try:
            workspace = Workspace(home or default())
            stored = stored_plan.load(workspace, plan)
            worker.run_worker(
                stored,
                workspace,
                progress,
                lambda job: reporter.settled(job.key) if reporter is not None else None,
                device=device,
                only_foundations=only_foundations,
                stop=stop,
            )
        except BenchError as error:
            if reporter is None:
                raise
            reporter.error(describe(error))
            raise typer.Exit(2) from None
