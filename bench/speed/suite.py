"""The timed tasks of `bench speed` and their hardware-independent counts."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bench.data import generate, layout
from bench.data.loader import SampleLoader
from bench.data.reader import Samples
from bench.data.subsets import Indices
from bench.models import backbones
from bench.plugins import adaptation
from bench.plugins.registry import Installed
from bench.progress import Progress
from bench.protocol.spec import Data
from bench.runner.machine_speeds import Speeds
from bench.seeds import seed_everything
from bench.seismic import simulation
from bench.speed import ceilings
from bench.speed.reference import PlainLoop
from bench.speed.reference_process import reference_process
from bench.speed.timing import Timing, interleave
from bench.training import evaluate, probe, train
from bench.training.capture import Step
from bench.training.memory_traffic import Traffic
from bench.training.numerics import Numerics
from bench.training.prefix import FrozenPrefix

_DATASET = "FlatVel_A"
_STEPS = 2
"""Training steps in a turn."""
_PLENTY, _LONG = 2**40, 100
"""Bytes for activations and epochs of a fit: what is measured is not the budget."""
Kind = Literal["train", "score", "simulate", "read", "ceiling"]
SCORE, SIMULATE, REFERENCE_TRAIN = "score", "simulate", "reference train"
MATRIX_CEILING, MEMORY_CEILING = "matrix ceiling", "memory ceiling"
SINGLE_CEILING = "matrix ceiling, float32"
"""Of scoring, where training is in bfloat16."""


@dataclass(frozen=True, kw_only=True)
class StepCounts:
    """Hardware-independent cost of a training step, or of scoring, of what it computes.

    Where steps begin at kept activations, that is less than a record of the fit says.
    """

    saved_bytes_per_sample: float
    flops_per_sample: float
    peak_bytes: int
    """Most bytes alive at once of what one step allocates, gradients among it; not the weights."""
    gradient_bytes: int
    moved_bytes_per_sample: float
    """Bytes that a step reads and writes if no operations are fused."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measurement."""

    kind: Kind
    name: str
    unit: str
    per_turn: float
    """How much of the unit a turn does."""
    timing: Timing
    counts: StepCounts | None
    method: str | None
    """The method that is trained as a fit would train it."""
    prefix_bytes: int
    """Of a sample's activations below the first trained layer, where steps begin at kept ones; they
    are computed in the first epoch, which is not timed. 0 elsewhere."""

    @property
    def per_second(self) -> float:
        return self.per_turn / self.timing.median


@dataclass(frozen=True, kw_only=True)
class _Contestant:
    kind: Kind
    name: str
    unit: str
    per_turn: float
    work: Callable[[], object]
    counts: StepCounts | None = None
    method: str | None = None
    prefix_bytes: int = 0


def measure(
    methods: Sequence[Installed],
    *,
    backbone: str,
    batch: int,
    rounds: int,
    numerics: Numerics,
    against_reference: bool,
    ablate: bool,
    progress: Progress,
) -> list[Figure]:
    """Time everything, interleaved, on samples simulated for the purpose.

    All runs in this process but the reference, which has one of its own. `ablate` adds training
    and scoring with one means of being fast less.
    """
    device = numerics.device
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        source = _simulated(Path(folder), batch * _STEPS, device, progress)
        field = []
        for installed in methods:
            with progress.stage(f"prepare {installed.method.name}", 1, "method"):
                field.append(_training(installed, backbone, source, numerics, running))
                if ablate:
                    field += _ablations(installed, backbone, source, numerics, running)
        field.append(_scoring(SCORE, backbone, source, numerics))
        if ablate and numerics.frugal:
            stock = replace(numerics, frugal=False)
            field.append(_scoring(f"{SCORE}, stock layers", backbone, source, stock))
        field += _rest(source, numerics)
        if against_reference:
            field += running.enter_context(_reference(backbone, source, batch, device))
        works = {task.name: task.work for task in field}
        with progress.stage("measure", rounds * len(field), "turns") as advance:
            timings = interleave(works, rounds=rounds, device=device, finished=advance)
    return [
        Figure(
            kind=task.kind,
            name=task.name,
            unit=task.unit,
            per_turn=task.per_turn,
            timing=timings[task.name],
            counts=task.counts,
            method=task.method,
            prefix_bytes=task.prefix_bytes,
        )
        for task in field
    ]


def _simulated(folder: Path, samples: int, device: torch.device, progress: Progress) -> Samples:
    data = Data(source="generated", train=samples, test=1, samples_per_file=samples)
    with progress.stage("simulate samples", samples + 1, "records") as advance:
        generate.make(folder, _DATASET, data, device=device, advance=advance)
    return Samples(folder / _DATASET, layout.generated(_DATASET, "train", data))


def _training(
    installed: Installed, backbone: str, source: Samples, numerics: Numerics, running: ExitStack
) -> _Contestant:
    """A method's training steps, as a fit makes them after the first epoch.

    The network keeps the memory-frugal form until `running` ends, as it does for a whole fit: a
    step captured on a GPU is valid no longer.
    """
    method = installed.method
    config = method.config()
    seed_everything(0)
    adapted = adaptation.adapt(method, backbones.build(backbone), config)
    numerics.place(adapted.model)
    adam = train.optimiser(adapted, config.learning_rate_scale)
    train.activate(adapted, 0.0)
    pool, order = _pool(source, numerics.device, resident=True), _order(source)

    prefix = FrozenPrefix(adapted, len(source), budget_bytes=_PLENTY, numerics=numerics)
    prefix.begin(_LONG)

    def turn(step: Step, batches: list[Indices]) -> None:
        adaptation.training_mode(adapted.model, method.traits.batchnorm)
        train.set_rate(adam, 1e-5)
        for x, y in prefix.batches(pool, batches):
            step(x, y)

    def uncaptured(x: Tensor, y: Tensor) -> Tensor:  # of which the operations can be counted
        return train.training_step(adapted, adam, x, y, numerics=numerics, forward=prefix.forward)

    with numerics.frugal_pass(adapted.model):
        turn(uncaptured, order[:1])
        if prefix.recording:
            turn(uncaptured, order)

    def counted() -> None:
        with numerics.frugal_pass(adapted.model):
            turn(uncaptured, order[:1])

    adaptation.training_mode(adapted.model, method.traits.batchnorm)
    counts = _count_step(adapted.model, numerics, counted, len(order[0]))
    running.enter_context(numerics.frugal_pass(adapted.model))
    step = train.step_function(adapted, adam, numerics, prefix)
    return _Contestant(
        kind="train",
        name=f"train {method.name}",
        unit="samples",
        per_turn=len(source),
        work=lambda: turn(step, order),
        counts=counts,
        method=method.name,
        prefix_bytes=prefix.nbytes // len(source),
    )


def _ablations(
    installed: Installed, backbone: str, source: Samples, numerics: Numerics, running: ExitStack
) -> Iterator[_Contestant]:
    """Training with one of the means less that make it fast."""
    without = {
        "float32": replace(numerics, bfloat16=False),
        "contiguous": replace(numerics, channels_last=False),
        "stock layers": replace(numerics, frugal=False),
    }
    for what, settings in without.items():
        if settings != numerics:
            made = _training(installed, backbone, source, settings, running)
            yield replace(made, name=f"{made.name}, {what}", method=None)


def _scoring(name: str, backbone: str, source: Samples, numerics: Numerics) -> _Contestant:
    seed_everything(0)
    network = backbones.build(backbone)
    numerics.place(network)
    pool = _pool(source, numerics.device, resident=True)

    def work() -> object:
        return evaluate.score(network, pool, numerics=numerics)

    return _Contestant(
        kind="score",
        name=name,
        unit="samples",
        per_turn=len(source),
        work=work,
        counts=_count(work, len(source)),
    )


def _rest(source: Samples, numerics: Numerics) -> Iterator[_Contestant]:
    """Simulating and reading, and the machine's ceilings."""
    device = numerics.device
    velocity = torch.from_numpy(source.maps(np.arange(4))[:, 0]).to(device)
    yield _Contestant(
        kind="simulate",
        name=SIMULATE,
        unit="records",
        per_turn=len(velocity),
        work=lambda: simulation.simulate(velocity),
    )
    streamed, order = _pool(source, device, resident=False), _order(source)
    yield _Contestant(
        kind="read",
        name="read files",
        unit="samples",
        per_turn=len(source),
        work=lambda: list(streamed.batches(order)),
    )
    product, operations = ceilings.matrix_product(numerics)
    yield _Contestant(
        kind="ceiling", name=MATRIX_CEILING, unit="FLOP", per_turn=operations, work=product
    )
    if numerics.bfloat16:
        single, operations = ceilings.matrix_product(replace(numerics, bfloat16=False))
        yield _Contestant(
            kind="ceiling", name=SINGLE_CEILING, unit="FLOP", per_turn=operations, work=single
        )
    copy, moved = ceilings.memory_copy(numerics)
    yield _Contestant(kind="ceiling", name=MEMORY_CEILING, unit="bytes", per_turn=moved, work=copy)


@contextmanager
def _reference(
    backbone: str, source: Samples, batch: int, device: torch.device
) -> Iterator[list[_Contestant]]:
    """The plain loop's training, scoring and reading, in a process that ends with the context."""
    everything = np.arange(len(source))
    records, maps = source.records(everything), source.maps(everything)
    plain = PlainLoop(records, maps, backbone=backbone, batch=batch, device=device)
    stock = Numerics(device=device, bfloat16=False, channels_last=False, frugal=False)
    x, y = next(plain.batches())
    plain.network.train()
    counts = _count_step(plain.network, stock, lambda: plain.step(x, y), len(x))
    kinds: tuple[Kind, ...] = ("train", "score", "read")
    with reference_process(records, maps, backbone=backbone, batch=batch, device=device) as turns:
        yield [
            _Contestant(
                kind=kind,
                name=f"reference {kind}",
                unit="samples",
                per_turn=len(source),
                work=turns[kind],
                counts=counts if kind == "train" else None,
            )
            for kind in kinds
        ]


def _pool(source: Samples, device: torch.device, *, resident: bool) -> SampleLoader:
    return SampleLoader([(source, np.arange(len(source)))], device=device, resident=resident)


def _order(source: Samples) -> list[Indices]:
    return np.array_split(np.arange(len(source)), _STEPS)


def _count_step(
    model: nn.Module, numerics: Numerics, step: Callable[[], object], samples: int
) -> StepCounts:
    """Hardware-independent cost of `step`, of so many samples; the model in its training modes."""
    cost = probe.step_cost(model, numerics)
    step()  # the optimiser's state is there before the peak is taken
    return replace(
        _count(step, samples),
        saved_bytes_per_sample=cost.saved_bytes_per_sample,
        gradient_bytes=sum(p.nbytes for p in model.parameters() if p.requires_grad),
    )


def _count(work: Callable[[], object], samples: int) -> StepCounts:
    """Hardware-independent cost of work on so many samples that keeps nothing for a gradient."""
    with FlopCounterMode(display=False) as counter, Traffic() as traffic:
        work()
    return StepCounts(
        saved_bytes_per_sample=0,
        flops_per_sample=counter.get_total_flops() / samples,
        peak_bytes=traffic.peak_bytes,
        gradient_bytes=0,
        moved_bytes_per_sample=traffic.moved_bytes / samples,
    )


def speeds(figures: Sequence[Figure], batch: int) -> Speeds:
    """The measurements of `bench speed` as speeds for estimates."""
    named = {figure.name: figure for figure in figures}
    trained = {figure.method: figure for figure in figures if figure.method}
    steps = [f.counts.peak_bytes - f.counts.gradient_bytes for f in trained.values() if f.counts]
    return Speeds(
        simulate_records_per_second=named[SIMULATE].per_second,
        score_samples_per_second=named[SCORE].per_second,
        train_samples_per_second={name: f.per_second for name, f in trained.items()},
        step_bytes_per_sample=max(steps, default=0) / batch,
    )
