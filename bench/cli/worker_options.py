"""Workers of `bench run`: the options ``--workers`` and ``--slurm``."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from bench.runner.worker_resources import Share


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """The processes that execute the plan, checked before anything starts; none: this one does."""

    shares: "tuple[Share, ...]" = ()
    """Shares of this machine, one for each worker process."""
    slurm: dict[str, str] | None = None
    """Options of sbatch, where Slurm runs the workers."""
    tasks: int = 1
    """Size of the Slurm array."""

    @classmethod
    def of(
        cls, workers: str | None, slurm: list[str] | None, device: str, home: Path | None
    ) -> Self:
        """The options as they are on the command line.

        Raises `ConfigError` for what this machine or its cluster has not got.
        """
        from bench.errors import ConfigError
        from bench.runner import slurm as scheduler
        from bench.runner import worker_resources
        from bench.runner.workspace import default

        if slurm:
            if not (workers or "").isdecimal() or not int(workers or 0):
                raise ConfigError("--slurm needs the number of tasks: --workers 16, for example.")
            chosen = scheduler.options(slurm)
            scheduler.check_home(home or default())
            return cls(slurm=chosen, tasks=int(workers or 1))
        return cls(shares=tuple(worker_resources.shares(workers, device)) if workers else ())
