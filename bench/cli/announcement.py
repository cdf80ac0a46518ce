"""Announcements of `bench run` before it begins: plan, precision, estimate, submission."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bench.cli.terminal import counted, duration, size

if TYPE_CHECKING:
    from bench.progress import Progress
    from bench.runner.context import RunContext
    from bench.runner.estimate import CostEstimate
    from bench.runner.plan import Plan


def plan(todo: "Plan", context: "RunContext", *, stock: bool) -> list[str]:
    """What there is to do, and which reused fits ran in another way, line by line."""
    reused = Counter(record.spec.kind for record in todo.done)
    lines = [
        f"Home {context.workspace.folder}",
        f"To do: simulate {counted(todo.records_to_simulate, 'record')}, "
        f"pretrain {counted(todo.foundations, 'foundation')}, train {counted(todo.fits, 'fit')}, "
        f"score {counted(todo.cells, 'cell')}. Reused: "
        f"{counted(reused['pretraining'], 'foundation')}, {counted(reused['adaptation'], 'fit')}.",
    ]
    others = sum(record.execution.determinism.frugal == stock for record in todo.done)
    if others:
        lines.append(
            f"Note: {counted(others, 'reused fit')} ran {'without' if stock else 'with'} --stock; "
            "scores differ by rounding only, but time and memory do not compare. Use another "
            "--home to have both."
        )
    if todo.other_foundation:
        lines.append(
            f"Note: {counted(len(todo.other_foundation), 'recorded fit')} started from another "
            "foundation than the one in this home; --again repeats them."
        )
    if todo.other_code:
        methods = ", ".join(sorted({record.spec.method.name for record in todo.other_code}))
        lines.append(
            f"Note: {counted(len(todo.other_code), 'recorded fit')} of {methods} ran with other "
            "code under the same version; if its results change, raise the method's version, or "
            "repeat them with --again."
        )
    if todo.other_backbone_code:
        lines.append(
            f"Note: {counted(len(todo.other_backbone_code), 'recorded fit')} ran with other code "
            f"of backbone {context.backbone.name} under the same version; if its results change, "
            "raise the backbone's version, or use another --home while it is being written."
        )
    if not todo.jobs:
        lines.append("Nothing to do: everything is recorded.")
    return lines


def precision(todo: "Plan", context: "RunContext", reason: str) -> None:
    """Say which precision fits are trained in, and which reused fits had another."""
    numerics = context.numerics
    context.progress.say(f"Precision: {numerics.precision} on {numerics.device} ({reason}).")
    trained = (record for record in todo.done if record.curve)
    others = [r for r in trained if r.execution.determinism.precision != numerics.precision]
    if others and todo.untrained:
        other = others[0].execution.determinism.precision
        context.progress.say(
            f"Note: {counted(len(others), 'reused fit')} ran in {other}; scores differ by "
            f"rounding, but time and memory do not compare. --precision {other} trains the others "
            "alike."
        )


def estimate(cost: "CostEstimate", say: Callable[[str], None]) -> None:
    """Say how much time, memory and disk space the plan will take."""
    say(
        f"Estimate: {duration(cost.seconds)} (simulation {duration(cost.simulate_seconds)}, "
        f"training {duration(cost.train_seconds)}, scoring {duration(cost.score_seconds)}), "
        f"memory {size(cost.memory_bytes)}, disk {size(cost.disk_bytes)}."
    )


def submitted(ids: Sequence[str], tasks: int, plan: "Plan", progress: "Progress") -> None:
    """Say which jobs Slurm has been given, and how to follow and to end them."""
    progress.say(
        f"Submitted to Slurm as {' and '.join(ids)}: {tasks} workers for {len(plan.jobs)} jobs. "
        f"`bench status` shows how far they are, scancel {' '.join(ids)} ends them."
    )
