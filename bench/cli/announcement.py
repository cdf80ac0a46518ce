"""What `bench run` says before it begins: the plan, the precision, the estimate."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from bench.cli.terminal import duration, size

if TYPE_CHECKING:
    from bench.runner.context import RunContext
    from bench.runner.estimate import CostEstimate
    from bench.runner.plan import Plan


def plan(todo: "Plan", context: "RunContext", *, stock: bool) -> None:
    """What there is to do, and what is reused that ran in another way."""
    say = context.progress.say
    say(f"Home {context.workspace.folder}")
    say(
        f"To do: simulate {_count(todo.records_to_simulate, 'record')}, "
        f"pretrain {_count(todo.foundations, 'foundation')}, train {_count(todo.fits, 'fit')}, "
        f"score {_count(todo.cells, 'cell')}. Reused: {_count(len(todo.done), 'recorded fit')}."
    )
    others = sum(record.execution.determinism.frugal == stock for record in todo.done)
    if others:
        say(
            f"Note: {_count(others, 'reused fit')} ran {'without' if stock else 'with'} --stock; "
            "scores differ by rounding only, but time and memory do not compare. Use another "
            "--home to have both."
        )
    if todo.strays:
        say(
            f"Note: {_count(len(todo.strays), 'recorded fit')} started from another foundation "
            "than the one in this home; --again repeats them."
        )
    if todo.other_code:
        methods = ", ".join(sorted({record.spec.method.name for record in todo.other_code}))
        say(
            f"Note: {_count(len(todo.other_code), 'recorded fit')} of {methods} ran with other "
            "code under the same version; if its results change, raise the method's version, or "
            "repeat them with --again."
        )


def precision(todo: "Plan", context: "RunContext", reason: str) -> None:
    """The precision of what will be trained, and the reused fits that had another."""
    numerics = context.numerics
    context.progress.say(f"Precision: {numerics.precision} on {numerics.device} ({reason}).")
    trained = (record for record in todo.done if record.curve)
    others = [r for r in trained if r.execution.determinism.precision != numerics.precision]
    if others and todo.untrained:
        other = others[0].execution.determinism.precision
        context.progress.say(
            f"Note: {_count(len(others), 'reused fit')} ran in {other}; scores differ by rounding, "
            f"but time and memory do not compare. --precision {other} trains the others alike."
        )


def estimate(cost: "CostEstimate", say: Callable[[str], None]) -> None:
    """Time, memory and disk space that the plan will take."""
    say(
        f"Estimate: {duration(cost.seconds)} (simulation {duration(cost.simulate_seconds)}, "
        f"training {duration(cost.train_seconds)}, scoring {duration(cost.score_seconds)}), "
        f"memory {size(cost.memory_bytes)}, disk {size(cost.disk_bytes)}."
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
