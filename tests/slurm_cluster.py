"""A real Slurm on this machine: munged, slurmctld and slurmd, with invented GPUs, for one test."""

import getpass
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel")
_CONF = """
ClusterName=test
SlurmctldHost={host}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
ReturnToService=2
KillWait=5
GresTypes=gpu
NodeName={host} CPUs=8 RealMemory=1000 Gres=gpu:4
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Start a cluster whose files lie in `folder`; yields the environment of its commands.

    Skips the test where Slurm is not installed or does not start.
    """
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin"))
    if missing := [name for name in _PROGRAMS if shutil.which(name, path=path) is None]:
        pytest.skip(f"no {missing[0]} here: apt-get install slurm-wlm munge")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    for number in range(4):
        (folder / f"gpu{number}").touch()
    host = socket.gethostname().partition(".")[0]
    conf = folder / "slurm.conf"
    settings = {"host": host, "user": getpass.getuser(), "folder": folder, "ports": _free_ports()}
    conf.write_text(_CONF.format(**settings), encoding="utf-8")
    gres = f"NodeName={host} Name=gpu File={folder}/gpu[0-3]\n"
    (folder / "gres.conf").write_text(gres, encoding="utf-8")
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    files = {"socket": "munge.socket", "pid-file": "munge.pid", "log-file": "munge.log"}
    munged = ["munged", "--force", "--foreground", f"--key-file={key}"]
    munged += [f"--{name}={folder / file}" for name, file in files.items()]
    munged += [f"--seed-file={folder}/munge.seed"]
    environment = os.environ | {"PATH": path, "SLURM_CONF": str(conf)}
    daemons: list[subprocess.Popen[bytes]] = []
    log = (folder / "daemons.log").open("wb")
    try:
        for words in (munged, ["slurmctld", "-D", "-c"], ["slurmd", "-D", "-c"]):
            daemons.append(subprocess.Popen(words, env=environment, stdout=log, stderr=log))
            time.sleep(1.0)
        _await_node(environment, folder)
        yield environment
    finally:
        cancel = ["scancel", "--user", getpass.getuser()]
        subprocess.run(cancel, env=environment, check=False, capture_output=True)
        time.sleep(1.0)
        for daemon in reversed(daemons):
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
        log.close()


def _await_node(environment: dict[str, str], folder: Path) -> None:
    state = "nothing"
    for _ in range(60):
        done = subprocess.run(
            ["sinfo", "--noheader", "--format=%T"], env=environment, capture_output=True, text=True
        )
        state = done.stdout.strip() or done.stderr.strip()
        if state == "idle":
            return
        time.sleep(0.5)
    last = (folder / "daemons.log").read_text(errors="replace").splitlines()[-3:]
    pytest.skip(f"Slurm does not start here (sinfo says {state}): {' / '.join(last)}")


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("", 0))
        two.bind(("", 0))
        return one.getsockname()[1], two.getsockname()[1]
