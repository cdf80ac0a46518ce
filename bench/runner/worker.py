"""A worker: executes a stored plan beside others, until nothing of it is left."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from bench.progress import Progress
from bench.runner import execution, machine_precision
from bench.runner.context import RunContext
from bench.runner.jobs import Job
from bench.runner.stored_plan import StoredPlan
from bench.runner.workspace import Workspace
from bench.training import numerics


class Stop:
    """A request to stop at the end of the epoch, after a checkpoint."""

    def __init__(self) -> None:
        self.asked = False

    @contextmanager
    def on_signal(self, number: signal.Signals, grace_seconds: float) -> Iterator[None]:
        """Context in which a signal asks for the stop; after the grace it interrupts."""

        def ask(received: int, frame: FrameType | None) -> None:
            self.asked = True
            timer.start()

        timer = threading.Timer(grace_seconds, signal.raise_signal, [signal.SIGTERM])
        timer.name, timer.daemon = "bench-grace", True
        before = signal.signal(number, ask)
        try:
            yield
        finally:
            timer.cancel()
            signal.signal(number, before)


def run_worker(
    stored: StoredPlan,
    workspace: Workspace,
    progress: Progress,
    settled: Callable[[Job], None],
    *,
    device: str | None = None,
    only_foundations: bool = False,
    stop: Stop | None = None,
) -> None:
    """Execute the jobs of a stored plan that no other process executes.

    `settled` is called with each job when nothing is left to do with it; `device` replaces the
    plan's. Raises what `bench.runner.execution.execute_plan` raises.
    """
    settings = stored.settings
    chosen = numerics.choose(
        device or settings.device, frugal=settings.frugal, precision=settings.precision
    )
    asked = stop or Stop()
    context = RunContext(
        workspace=workspace,
        track=settings.track,
        backbone=settings.backbone,
        numerics=chosen,
        progress=progress,
        command=stored.command,
        data_folder=settings.data_folder,
        checkpoint_share=settings.checkpoint_share,
        test_curve=settings.test_curve,
        plan_id=stored.id,
        stopping=lambda: asked.asked,
    )
    with chosen.active():
        machine_precision.decide(context, asked=settings.precision)
        execution.execute_plan(
            stored.plan, context, only_foundations=only_foundations, settled=settled
        )
