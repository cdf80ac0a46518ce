"""Several worker processes on this machine: started, watched, replaced where they die, ended."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import IO, Any

from bench.errors import HomeError
from bench.progress import Advance, Progress
from bench.records.record import Record
from bench.runner import stored_plan
from bench.runner.messages import Receiver, parse
from bench.runner.stored_plan import StoredPlan
from bench.runner.worker_resources import Share
from bench.runner.workspace import Workspace

_MOST_IDLE_DEATHS = 3
"""Deaths in a row of workers without a job, while no job was settled: no job is at fault then."""
_END_SECONDS = 15.0
"""Time that workers have to end after they were asked to; then they are killed."""
_LAST_LINES = 3


def run_workers(
    stored: StoredPlan,
    shares: Sequence[Share],
    workspace: Workspace,
    progress: Progress,
    samples: dict[str, int],
) -> list[Record]:
    """Execute a stored plan with a worker process for each share; returns the records of its jobs.

    No more workers are started than there are jobs. `samples` is the work of each job by its key.
    A worker that dies is replaced, and its job goes to another. Raises `HomeError` with a worker's
    own sentence where data or home are at fault, and where workers die before they begin.
    """
    with ExitStack() as stack:
        advance = stack.enter_context(progress.stage("in all", sum(samples.values()), "samples"))
        pool = _Pool(stored, workspace, progress, advance, samples)
        stack.callback(pool.end)
        pool.run(shares[: max(len(stored.jobs), 1)])
    records = [workspace.record(job.spec) for job in stored.jobs]
    return [record for record in records if record is not None]


class _Worker:
    """One worker process and what it has reported."""

    def __init__(
        self,
        number: int,
        share: Share,
        stored: StoredPlan,
        workspace: Workspace,
        progress: Progress,
    ) -> None:
        self.number, self.share = number, share
        logs = stored_plan.folder(workspace, stored.id)
        self.log = logs / f"worker-{number}.log"
        reading, writing = os.pipe()
        words = ["work", stored.id, "--home", str(workspace.folder), "--device", share.device]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bench", *words, "--report", str(writing)],
                env=os.environ | share.environment,
                stdin=subprocess.PIPE,  # its end tells the worker that this process is gone
                stdout=log,
                stderr=log,
                pass_fds=(writing,),
                start_new_session=True,  # Ctrl-C reaches this process alone
            )
        os.close(writing)
        self.pipe: IO[str] = os.fdopen(reading, encoding="utf-8", errors="replace")
        self.receiver = Receiver(progress, prefix=f"{number}: ")

    @property
    def last_lines(self) -> str:
        """The last lines of its log, joined to one."""
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        return " / ".join(line.strip() for line in lines[-_LAST_LINES:])


class _Pool:
    """The worker processes of one plan."""

    def __init__(
        self,
        stored: StoredPlan,
        workspace: Workspace,
        progress: Progress,
        advance: Advance,
        samples: dict[str, int],
    ) -> None:
        self._stored, self._workspace, self._progress = stored, workspace, progress
        self._advance, self._samples = advance, samples
        self._settled: set[str] = set()
        self._said: set[str] = set()
        self._events: queue.Queue[tuple[_Worker, dict[str, Any] | None]] = queue.Queue()
        self._running: list[_Worker] = []
        self._started = self._idle_deaths = self._settled_before = 0

    def run(self, shares: Sequence[Share]) -> None:
        """Start the workers and wait for the last one."""
        for share in shares:
            self._start(share)
        while self._running:
            worker, message = self._events.get()
            if message is None:
                self._ended(worker)
            else:
                self._receive(worker, message)

    def end(self) -> None:
        """End all workers that still run, gently at first."""
        for worker in self._running:
            worker.process.terminate()
        deadline = time.monotonic() + _END_SECONDS
        for worker in self._running:
            try:
                worker.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            self._close(worker)
        self._running.clear()

    def _start(self, share: Share) -> None:
        worker = _Worker(self._started, share, self._stored, self._workspace, self._progress)
        self._started += 1
        self._running.append(worker)

        def listen() -> None:
            for line in worker.pipe:
                self._events.put((worker, parse(line)))
            worker.process.wait()
            self._events.put((worker, None))

        threading.Thread(target=listen, name="bench-worker", daemon=True).start()

    def _receive(self, worker: _Worker, message: dict[str, Any]) -> None:
        match message:
            case {"say": str(text)}:
                if text not in self._said:  # several workers may say the same of one job
                    self._said.add(text)
                    worker.receiver.receive(message)
            case {"settled": str(key)}:
                if key not in self._settled:
                    self._settled.add(key)
                    self._advance(self._samples.get(key, 0))
            case {"error": str(sentence)}:
                raise HomeError(sentence)
            case _:
                worker.receiver.receive(message)

    def _ended(self, worker: _Worker) -> None:
        self._running.remove(worker)
        self._close(worker)
        code = worker.process.returncode
        if code == 0:
            return
        owners = self._workspace.leases.owners()
        job = next((o.title for o in owners if o.pid == worker.process.pid), None)
        how = (
            f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended with code {code}"
        )
        at = f" at work on {job}, which goes to another" if job else ""
        self._progress.say(f"Worker {worker.number} (process {worker.process.pid}) {how}{at}.")
        idle = job is None and len(self._settled) == self._settled_before
        self._settled_before = len(self._settled)
        self._idle_deaths = self._idle_deaths + 1 if idle else 0
        if self._idle_deaths == _MOST_IDLE_DEATHS:
            raise HomeError(
                f"Workers die and no job is at fault: the last one {how}; its last words: "
                f"{worker.last_lines or 'none'} ({worker.log})."
            )
        self._start(worker.share)

    def _close(self, worker: _Worker) -> None:
        worker.receiver.close()
        if worker.process.stdin:
            worker.process.stdin.close()
