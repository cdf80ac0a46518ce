"""What a fit costs beside its arithmetic: its whole time, less that in training steps and in
forward passes of scoring.

    python examples/overhead.py --method fft,bitfit --protocol id --track small --home HOME

Everything is passed on to `bench run`; a home in which data and foundation are there already shows
fits alone. For a CPU: a GPU's steps end after the call that starts them.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

from bench.cli import main
from bench.runner import execution
from bench.runner.jobs import Job
from bench.training import evaluate, train

Function = Callable[..., Any]


class Clock:
    """Seconds spent within the functions that it wraps."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def timed(self, function: Function) -> Function:
        def wrapped(*inputs: Any, **options: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*inputs, **options)
            finally:
                self.seconds += time.perf_counter() - start

        return wrapped


def measure() -> None:
    """Have every fit that trains print its line as it ends."""
    arithmetic = Clock()
    train.training_step = arithmetic.timed(train.training_step)
    evaluate.score_batch = arithmetic.timed(evaluate.score_batch)
    execute_job = execution.execute_job

    def told(job: Job, *inputs: Any, **options: Any) -> Any:
        start, before = time.perf_counter(), arithmetic.seconds
        record = execute_job(job, *inputs, **options)
        whole, spent = time.perf_counter() - start, arithmetic.seconds - before
        if spent and job.spec.kind == "adaptation":
            beside = whole - spent
            print(
                f"{job.spec.title}: {whole:.1f} s, beside arithmetic {beside:.2f} s, "
                f"{beside / whole:.1%}"
            )
        return record

    execution.execute_job = told


if __name__ == "__main__":
    measure()
    sys.argv = ["bench", "run", *sys.argv[1:]]
    main()
