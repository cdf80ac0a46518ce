"""What a fit costs beside its arithmetic: its whole time, less that in training steps, in forward
passes of scoring, and in those that recompute BatchNorm statistics.

    python examples/overhead.py --method fft,bitfit --protocol id --track small --home HOME

Everything is passed on to `bench run`; a home in which data and foundation are there already shows
fits alone. For a CPU: a GPU's steps end after the call that starts them.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from bench.cli import main
from bench.runner import execution, training
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

    def iterated(self, values: Iterable[Any]) -> Iterator[Any]:
        iterator = iter(values)
        following = self.timed(lambda: next(iterator, None))
        while (value := following()) is not None:
            yield value


def measure() -> None:
    """Have every fit that trains print its line as it ends."""
    arithmetic = Clock()
    train.training_step = arithmetic.timed(train.training_step)
    evaluate.score_batch = arithmetic.timed(evaluate.score_batch)
    recompute = training.recompute

    def passes(model: Any, layers: Any, batches: Iterable[Any], numerics: Any) -> Any:
        start, reading = time.perf_counter(), Clock()
        try:
            return recompute(model, layers, reading.iterated(batches), numerics)
        finally:
            arithmetic.seconds += time.perf_counter() - start - reading.seconds

    training.recompute = passes
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
