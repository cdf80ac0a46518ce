"""One of the processes that pretrain together, as torchrun starts it: the folder of its job is the
only argument.

It ends with 0 when the pretraining is done and with 1 otherwise, upon which torchrun starts all of
them again, from the last checkpoint. An error that would come again is left in the folder, and then
every process ends with 0.
"""

import sys
from pathlib import Path

from bench.atomic import write_atomically
from bench.progress import Silent
from bench.runner import parent_watch, pretraining
from bench.runner.context import RunContext
from bench.runner.launch import JOB_FILE, OUTCOME_FILE, Failure, LaunchedJob, Outcome
from bench.runner.messages import Reporter
from bench.runner.pretraining import ShardedPretraining
from bench.runner.workspace import Workspace
from bench.training import numerics
from bench.training.group import Group, PeerLostError, joined


def main(folder: Path) -> int:
    """Take part in the pretraining; returns the exit code."""
    outcome = folder / OUTCOME_FILE
    if outcome.exists():  # all were started again because one of them has failed
        return 0
    job = LaunchedJob.model_validate_json((folder / JOB_FILE).read_bytes())
    settings = numerics.choose(job.device, frugal=job.frugal, precision=job.precision)
    try:
        with settings.active(), joined(settings.device) as group:
            context = _context(job, settings, group)
            if not group.leads:
                pretraining.assist(context)
                return 0
            training = ShardedPretraining(job.spec, context)
            with pretraining.settings(job.spec, context):
                training.run()
            result = Outcome(
                curve=tuple(training.curve),
                cost=training.cost,
                counts=training.counts,
                facts=training.facts,
                resumed=training.resumed,
            )
            write_atomically(outcome, result.model_dump_json().encode())
            return 0
    except PeerLostError as lost:
        sys.stderr.write(f"{lost}\n")
        return 1
    except Exception as problem:  # the boundary of this process: the launching one raises it again
        if not outcome.exists():
            failed = Outcome(failure=Failure.of(problem))
            write_atomically(outcome, failed.model_dump_json().encode())
        return 1


def _context(job: LaunchedJob, settings: numerics.Numerics, group: Group) -> RunContext:
    return RunContext(
        workspace=Workspace(job.home),
        track=job.track,
        backbone=job.spec.backbone,
        numerics=settings,
        progress=Reporter(sys.stdout) if group.leads else Silent(),
        command=job.command,
        data_folder=job.data_folder,
        checkpoint_share=job.checkpoint_share,
        group=group,
    )


if __name__ == "__main__":
    parent_watch.end_with_parent()
    sys.exit(main(Path(sys.argv[1])))
