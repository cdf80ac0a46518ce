"""Workers as an array of Slurm tasks, submitted through submitit.

What travels is a command line, ``bench work PLAN``; nothing is pickled. Data and foundations are
made by a job of their own, which the array waits for. Slurm's warning signal (USR2, before a time
limit or preemption) makes a worker stop after the epoch with a checkpoint, and requeue its task.
"""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import psutil

from bench.errors import ConfigError, UnknownNameError
from bench.progress import Progress
from bench.runner import stored_plan
from bench.runner.stored_plan import StoredPlan
from bench.runner.worker import Stop
from bench.runner.workspace import Workspace

FOLDER = "slurm"
"""Folder of logs and submission files, in the folder of a plan."""
WARNING_KEY = "signal-delay"
_WARNING_SECONDS = 120
_OURS = ("array", "dependency", "error", "open-mode", "output", "requeue", "signal", "wrap")
_MOST_REQUEUES = 100
_AFTER_DEATH = f"""code=$?
if [ $code -gt 130 ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {_MOST_REQUEUES} ]; then
  scontrol requeue $SLURM_JOB_ID
fi
exit $code"""
"""Shell lines after the worker: a task whose worker was killed by a signal is requeued."""
_LOCAL = frozenset({"tmpfs", "ramfs", "ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "overlay"})
"""File systems that other machines see only if this one exports them."""
SHARED = "BENCH_SHARED_HOME"


def options(words: Sequence[str]) -> dict[str, str]:
    """Options of sbatch from ``partition=gpu,time=4:00:00`` and the like; `signal-delay` besides.

    A value may contain commas: ``nodelist=n1,n2``. Raises `ConfigError` where Slurm or submitit is
    not installed here, and for options that are not known or that the harness sets itself.
    """
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise ConfigError(
            "--slurm needs Slurm, but there is no sbatch on this machine; give the command on a "
            "login node of the cluster, or use --workers here."
        )
    if find_spec("submitit") is None:
        raise ConfigError(
            "--slurm needs the package submitit; install it with "
            "pip install 'fwi-peft-bench[slurm]'."
        )
    chosen: dict[str, str] = {}
    for piece in ",".join(words).split(","):
        key, equals, value = piece.partition("=")
        if equals and key and value:
            chosen[key.strip().replace("_", "-")] = value
        elif chosen and not equals and piece:
            chosen[next(reversed(chosen))] += f",{piece}"
        else:
            raise ConfigError(
                f"--slurm {','.join(words)}: write options of sbatch, such as "
                "partition=gpu,time=4:00:00,gres=gpu:1."
            )
    known = {WARNING_KEY, *_sbatch_options()} - set(_OURS)
    for key in chosen:
        if key in _OURS:
            raise ConfigError(f"--slurm {key}: the harness sets this option of sbatch itself.")
        if key not in known:
            raise UnknownNameError("option of sbatch", key, known)
    delay = chosen.get(WARNING_KEY, "1")
    if not delay.isdecimal():
        raise ConfigError(f"--slurm {WARNING_KEY}={delay}: write a number of seconds.")
    return chosen


def _sbatch_options() -> set[str]:
    done = subprocess.run(["sbatch", "--help"], capture_output=True, text=True, check=False)
    return set(re.findall(r"--([a-z][a-z-]+)=", done.stdout + done.stderr))


def check_home(home: Path) -> None:
    """Raise `ConfigError` for a home that the cluster's other machines cannot share.

    The type of its file system decides. A machine that exports its own disk says so by the
    environment variable BENCH_SHARED_HOME=1.
    """
    kind = _file_system(home)
    if kind not in _LOCAL or os.environ.get(SHARED) == "1":
        return
    done = subprocess.run(
        ["sinfo", "--noheader", "--format=%n"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        raise ConfigError(f"Slurm does not answer on this machine ({reason}); see sinfo.")
    here = {socket.gethostname(), socket.gethostname().partition(".")[0]}
    if others := sorted(set(done.stdout.split()) - here):
        raise ConfigError(
            f"Home {home} lies on a disk of this machine ({kind}), which {others[0]} and the other "
            "machines of the cluster do not share; choose a folder that they share with --home, or "
            f"set {SHARED}=1 if this machine exports it."
        )


def _file_system(path: Path) -> str:
    mounts = {Path(p.mountpoint): p.fstype for p in psutil.disk_partitions(all=True)}
    path = path.expanduser().absolute()
    return next((mounts[p] for p in (path, *path.parents) if p in mounts), "")


def submit(
    stored: StoredPlan, workspace: Workspace, chosen: dict[str, str], workers: int
) -> tuple[str, ...]:
    """Submit a stored plan to `workers` tasks; returns the numbers of the jobs, the array last.

    `chosen` is as `options` returns it. Raises `ConfigError` with Slurm's own words if it refuses.
    """
    jobs: list[str] = []
    plan = stored.plan
    if plan.foundations or plan.records_to_simulate:
        jobs.append(_submit(stored, workspace, chosen, ["--only-foundations"]))
    after = {"dependency": f"afterok:{jobs[0]}", "kill-on-invalid-dep": "yes"} if jobs else {}
    jobs.append(_submit(stored, workspace, chosen, [], count=workers, more=after))
    return tuple(jobs)


def _submit(
    stored: StoredPlan,
    workspace: Workspace,
    chosen: dict[str, str],
    words: list[str],
    *,
    count: int | None = None,
    more: dict[str, str] | None = None,
) -> str:
    from submitit import SlurmExecutor
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    delay = int(chosen.get(WARNING_KEY, _WARNING_SECONDS))
    sbatch = {key: value for key, value in chosen.items() if key != WARNING_KEY}
    command = [sys.executable, "-m", "bench", "work", stored.id, "--home", str(workspace.folder)]
    folder = stored_plan.folder(workspace, stored.id) / FOLDER
    folder.mkdir(exist_ok=True)
    executor = SlurmExecutor(folder=folder)
    cores = sbatch.get("cpus-per-task")
    executor.update_parameters(
        job_name="bench",
        signal_delay_s=delay,
        stderr_to_stdout=True,
        teardown=_AFTER_DEATH.splitlines(),
        srun_args=[f"--cpus-per-task={cores}"] if cores else [],  # steps do not inherit it
        additional_parameters={"requeue": True} | sbatch | (more or {}),
    )
    if count is not None:
        executor.parameters["map_count"] = count
    try:
        # Submits a command line as it is; submitit's public functions would pickle a function
        job = executor._submit_command(shlex.join([*command, *words, "--grace", str(delay / 2)]))
    except (FailedJobError, FailedSubmissionError, OSError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        said = next((line for line in reversed(lines) if "error:" in line), lines[-1])
        raise ConfigError(f"Slurm refuses the job: {said}") from error
    return str(job.job_id)


@contextmanager
def requeued_when_stopped(stop: Stop, grace_seconds: float, progress: Progress) -> Iterator[None]:
    """Context in which Slurm's warning requeues the task, after a checkpoint where possible."""
    with stop.on_signal(signal.SIGUSR2, grace_seconds):
        try:
            yield
        except KeyboardInterrupt:
            if stop.asked:
                _requeue(progress)
            raise


def _requeue(progress: Progress) -> None:
    task = os.environ.get("SLURM_JOB_ID")  # of an array, each task has a number of its own
    if task is None:
        return
    if int(os.environ.get("SLURM_RESTART_COUNT", "0")) >= _MOST_REQUEUES:
        progress.say(f"Task {task} has been requeued {_MOST_REQUEUES} times and is not again.")
        return
    progress.say(f"Requeues task {task}.")
    subprocess.run(["scontrol", "requeue", task], check=False, timeout=60)
