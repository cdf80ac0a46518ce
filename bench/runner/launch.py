"""Pretraining on several devices of this machine: torchrun starts a process for each."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Any, Self

from pydantic import Field
from torch import nn

from bench.errors import (
    BackboneError,
    BenchError,
    ConfigError,
    DataError,
    FoundationError,
    HomeError,
    MethodError,
    describe,
)
from bench.models import backbones
from bench.models.checkpoint import load_backbone_state
from bench.protocol.spec import FitSpec, Frozen, Track
from bench.records.record import Counts, Epoch, Phase, Precision
from bench.runner.messages import Receiver, parse
from bench.runner.training import FitTraining
from bench.training.allocator import is_exhausted

JOB_FILE, OUTCOME_FILE = "job.json", "outcome.json"
LOG_FILE = "pretraining.log"
"""Standard error of the processes; kept in the run's folder if they failed."""
RESTARTS = 3
"""How often all processes are started again after one has died."""
_END_SECONDS = 60
_RAISED: dict[str, type[Exception]] = {
    error.__name__: error
    for error in (
        BackboneError,
        ConfigError,
        DataError,
        FoundationError,
        HomeError,
        MemoryError,
        MethodError,
    )
}


class LaunchedJob(Frozen):
    """The pretraining that each process takes part in, and the command's settings that it needs."""

    track: Track
    spec: FitSpec
    home: Path
    device: str
    precision: Precision
    frugal: bool
    data_folder: Path | None
    checkpoint_share: float
    command: tuple[str, ...]


class Failure(Frozen):
    """An error of one process, which would come again after a restart."""

    kind: str
    """Name of the exception that the launching process raises."""
    message: str

    @classmethod
    def of(cls, problem: Exception) -> Self:
        """The failure to report for an exception."""
        kind = "MemoryError" if is_exhausted(problem) else type(problem).__name__
        text = str(problem) if isinstance(problem, BenchError) else describe(problem)
        return cls(kind=kind, message=text)


class Outcome(Frozen):
    """The end of a pretraining: an error, or the results that the leader has of it."""

    failure: Failure | None = None
    curve: tuple[Epoch, ...] = ()
    cost: Phase | None = None
    counts: Counts | None = None
    facts: dict[str, Any] = Field(default_factory=dict)
    resumed: int = 0


class LaunchedPretraining(FitTraining):
    """A sharded pretraining in processes of their own; this one waits for them and records it."""

    def run(self) -> nn.Module:
        """Start the processes and wait for them; returns the trained network, on the device.

        Raises what one of them has raised, and `MethodError` if they die again and again. When it
        is interrupted, or this process is killed, they end.
        """
        self._checkpoints = self._open_checkpoints()
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            folder = Path(name)
            (folder / JOB_FILE).write_text(self._job().model_dump_json(), encoding="utf-8")
            with (folder / LOG_FILE).open("w+", encoding="utf-8", errors="replace") as log:
                code = self._launch(folder, log)
                log.seek(0)
                text = log.read()
            outcome = _read(folder)
        self._take(outcome, code, text)
        path = self.context.workspace.weights(self.spec)
        name = self.spec.backbone.name
        model = backbones.restore(name, load_backbone_state(path, name))
        self.context.numerics.place(model)
        return model

    def _launch(self, folder: Path, log: IO[str]) -> int:
        """Run torchrun to its end; returns its exit code."""
        command = [sys.executable, "-m", "bench.runner.torchrun", "--standalone"]
        command += ["--nproc-per-node", str(self.context.pretrain_devices)]
        command += ["--max-restarts", str(RESTARTS)]
        command += ["-m", "bench.runner.pretraining_process", str(folder)]
        process = subprocess.Popen(
            command,
            env={"OMP_NUM_THREADS": "1"} | os.environ,  # torchrun's own default, without its notice
            stdin=subprocess.PIPE,  # closed, it ends them all: see `bench.runner.parent_watch`
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,  # Ctrl-C of the terminal goes to this process alone
        )
        assert process.stdin is not None and process.stdout is not None
        receiver = Receiver(self.context.progress)
        try:
            for line in process.stdout:
                receiver.receive(parse(line))
            return process.wait()
        finally:
            process.stdin.close()
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()
            receiver.close()

    def _job(self) -> LaunchedJob:
        context = self.context
        return LaunchedJob(
            track=context.track,
            spec=self.spec,
            home=context.workspace.folder,
            device=context.numerics.device.type,
            precision=context.numerics.precision,
            frugal=context.numerics.frugal,
            data_folder=context.data_folder and context.data_folder.absolute(),
            checkpoint_share=context.checkpoint_share,
            command=context.command,
        )

    def _take(self, outcome: Outcome | None, code: int, log: str) -> None:
        """Take over the leader's results; raise the error if there is one."""
        if outcome is not None and (failure := outcome.failure) is not None:
            raise _RAISED.get(failure.kind, MethodError)(failure.message)
        if outcome is None or code != 0:
            path = self.context.workspace.run(self.spec) / LOG_FILE
            path.write_text(log, encoding="utf-8")
            raise MethodError(
                f"Pretraining on {self.context.pretrain_devices} devices did not end: processes "
                f"died, also after {RESTARTS} restarts; what they wrote is in {path}."
            )
        self.curve, self.resumed = list(outcome.curve), outcome.resumed
        self.cost, self.counts, self.facts = outcome.cost, outcome.counts, outcome.facts


def _read(folder: Path) -> Outcome | None:
    path = folder / OUTCOME_FILE
    return Outcome.model_validate_json(path.read_bytes()) if path.exists() else None
