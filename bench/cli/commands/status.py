"""`bench status`: how far the plans of a home are, what runs where, what has failed."""

from typing import TYPE_CHECKING

import typer

from bench.cli.options import HomeOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.leases import Owner
    from bench.runner.status import PlanStatus


def status(home: HomeOption = None) -> None:
    """Show the plans of a home: what is done, at work and where, waiting, and failed."""
    from bench.runner import status as plans
    from bench.runner.workspace import to_read

    found, others = plans.of_home(to_read(home))
    shown = [plan for plan in found if not plan.over] or found[:1]
    if not shown and not others:
        typer.echo("No plan in this home: `bench run` makes one.")
    for plan in shown:
        _show(plan)
    if others:
        typer.echo("Work that belongs to no plan")
        _table(others)


def _show(plan: "PlanStatus") -> None:
    typer.echo(f"Plan {plan.stored.id}: {' '.join(plan.stored.command)}")
    typer.echo(
        f"{len(plan.stored.jobs)} jobs: {plan.done} done, {len(plan.failed)} failed, "
        f"{len(plan.at_work)} at work, {plan.waiting} waiting."
    )
    if plan.at_work:
        _table(plan.at_work)
    for record in plan.failed:
        typer.echo(f"Failed: {record.spec.title}: {record.error}")


def _table(owners: "Sequence[Owner]") -> None:
    from bench.cli.terminal import table

    rows = [(o.title, o.where + (" (gone)" if o.gone else ""), o.since) for o in owners]
    table(("at work on", "where", "since (UTC)"), rows)
