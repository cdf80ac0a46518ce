"""Where `bench run` executes its plan: in its own process, in workers on this machine, by Slurm."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from bench.records.record import Record
    from bench.runner.context import RunContext
    from bench.runner.plan import Plan
    from bench.runner.shares import Share


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The choice of ``--workers`` and ``--slurm``, checked before anything starts."""

    shares: "tuple[Share, ...]" = ()
    """Of this machine, one a worker; none for this process alone."""
    slurm: dict[str, str] | None = None
    """Options of sbatch."""
    tasks: int = 1
    """Of the Slurm array."""

    @classmethod
    def of(
        cls, workers: str | None, slurm: list[str] | None, device: str, home: Path | None
    ) -> Self:
        """The choice of these options. Raises `ConfigError` for what cannot be had here."""
        from bench.errors import ConfigError
        from bench.runner import shares
        from bench.runner import slurm as scheduler
        from bench.runner.workspace import default

        if slurm:
            if not (workers or "").isdecimal() or not int(workers or 0):
                raise ConfigError("--slurm needs the number of tasks: --workers 16, for example.")
            chosen = scheduler.options(slurm)
            scheduler.check_home(home or default())
            return cls(slurm=chosen, tasks=int(workers or 1))
        return cls(shares=tuple(shares.shares(workers, device)) if workers else ())

    def conduct(
        self, plan: "Plan", context: "RunContext", device: str, precision: str
    ) -> "list[Record]":
        """Execute a plan, or submit it; returns the records, those of a submitted plan none.

        `device` and `precision` as on the command line: the machines of a cluster choose theirs.
        """
        from bench.runner import conductor, slurm, stored_plan, workers

        decided = precision if self.slurm is not None else context.numerics.precision
        stored = stored_plan.StoredPlan.of(plan, context, device=device, precision=decided)
        stored_plan.keep(stored, context.workspace)
        if self.slurm is not None:
            jobs = slurm.submit(stored, context.workspace, self.slurm, self.tasks)
            context.progress.say(
                f"Submitted to Slurm as {' and '.join(jobs)}: {self.tasks} workers for "
                f"{len(plan.jobs)} jobs. `bench status` shows how far they are, scancel "
                f"{' '.join(jobs)} ends them."
            )
            return []
        if self.shares:
            samples = conductor.work_of(plan, context)
            shares = self.shares[: max(len(plan.jobs), 1)]
            return workers.conduct(stored, shares, context.workspace, context.progress, samples)
        context.plan_id = stored.id
        return conductor.conduct(plan, context)
