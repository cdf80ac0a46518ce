"""How far the plans of a home are, read from its files alone."""

from dataclasses import dataclass

from bench.errors import RecordError
from bench.leases import Owner
from bench.records.record import Record
from bench.runner import stored_plan
from bench.runner.jobs import settled
from bench.runner.stored_plan import StoredPlan
from bench.runner.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class PlanStatus:
    """The jobs of a plan, counted by their state."""

    stored: StoredPlan
    done: int
    failed: tuple[Record, ...]
    at_work: tuple[Owner, ...]
    """Holders of claims, those of data included; a dead one holds its claim until it is noticed."""
    waiting: int

    @property
    def over(self) -> bool:
        """Whether nothing is left to do."""
        return not self.at_work and not self.waiting


def of_home(workspace: Workspace) -> tuple[list[PlanStatus], list[Owner]]:
    """The plans of a home, newest first, and the holders of claims that belong to none of them."""
    owners = list(workspace.leases.owners())
    plans = [_of(stored, workspace, owners) for stored in stored_plan.plans(workspace)]
    known = {status.stored.id for status in plans}
    return plans, [owner for owner in owners if owner.plan not in known]


def _of(stored: StoredPlan, workspace: Workspace, owners: list[Owner]) -> PlanStatus:
    records = []
    for job in stored.jobs:
        try:
            records.append(settled(job, workspace))
        except RecordError:  # `bench report` tells of it
            records.append(None)
    failed = tuple(r for r in records if r is not None and r.status != "done")
    done = sum(r is not None and r.status == "done" for r in records)
    titles = {j.spec.title for j, r in zip(stored.jobs, records, strict=True) if r is None}
    busy = {owner.title for owner in owners} & titles  # whichever plan they work for
    return PlanStatus(
        stored=stored,
        done=done,
        failed=failed,
        at_work=tuple(o for o in owners if o.plan == stored.id or o.title in titles),
        waiting=len(titles) - len(busy),
    )
