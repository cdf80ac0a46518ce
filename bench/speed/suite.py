"""The contestants of `bench speed`, and what is counted about them."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bench import backbones, physics
from bench.data import generate, layout
from bench.data.pools import Pool
from bench.data.reader import Samples
from bench.plugins import adaptation
from bench.plugins.registry import Installed
from bench.progress import Progress
from bench.spec import Data
from bench.speed import ceilings
from bench.speed.reference import PlainLoop
from bench.speed.timing import Timing, interleave
from bench.speed.traffic import Traffic
from bench.training import allocator, evaluate, probe, train
from bench.training.numerics import Numerics, seed_everything

_DATASET = "FlatVel_A"
_STEPS = 2
"""Training steps in a turn."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What a training step costs whatever the hardware."""

    saved_bytes_per_sample: float
    flops_per_sample: float
    peak_bytes: int
    """Most bytes alive at once of what one step allocates; weights are not among them."""
    moved_bytes_per_sample: float
    """Bytes that a step reads and writes if no operations are fused."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured thing."""

    name: str
    unit: str
    per_turn: float
    """How much of the unit a turn does."""
    timing: Timing
    counts: Counts | None

    @property
    def per_second(self) -> float:
        return self.per_turn / self.timing.median


@dataclass(frozen=True, kw_only=True)
class _Contestant:
    unit: str
    per_turn: float
    work: Callable[[], object]
    counts: Counts | None = None


def measure(
    methods: Sequence[Installed],
    *,
    backbone: str,
    batch: int,
    rounds: int,
    numerics: Numerics,
    against_reference: bool,
    progress: Progress,
) -> list[Figure]:
    """Time everything, interleaved in this process, on samples simulated for the purpose."""
    field: dict[str, _Contestant] = {}

    def enter(
        name: str,
        unit: str,
        per_turn: float,
        work: Callable[[], object],
        counts: Counts | None = None,
    ) -> None:
        field[name] = _Contestant(unit=unit, per_turn=per_turn, work=work, counts=counts)

    samples = batch * _STEPS
    device = numerics.device
    with tempfile.TemporaryDirectory() as folder:
        source = _simulated(Path(folder), samples, device, progress)
        everything = np.arange(samples)
        resident = Pool([(source, everything)], device=device, resident=True)
        streamed = Pool([(source, everything)], device=device, resident=False)
        order = np.array_split(everything, _STEPS)
        for installed in methods:
            name = f"train {installed.method.name}"
            with progress.stage(f"prepare {name}", 1, "method"):
                work, counts = _training(installed, backbone, resident, order, numerics)
            enter(name, "samples", samples, work, counts)
        seed_everything(0)
        network = backbones.build(backbone)
        numerics.place(network)
        enter("score", "samples", samples, lambda: evaluate.score(network, resident, gallery=0))
        velocity = torch.from_numpy(source.maps(everything[:4])[:, 0]).to(device)
        enter("simulate", "records", len(velocity), lambda: physics.simulate(velocity))
        enter("read files", "samples", samples, lambda: list(streamed.batches(order)))
        product, operations = ceilings.matrix_product(numerics)
        enter("matrix ceiling", "FLOP", operations, product)
        copy, moved = ceilings.memory_copy(numerics)
        enter("memory ceiling", "bytes", moved, copy)
        if against_reference:
            arrays = source.records(everything), source.maps(everything)
            plain = PlainLoop(*arrays, backbone=backbone, batch=batch, device=device)
            enter("reference train", "samples", samples, lambda: _as_a_script(plain.train_epoch))
            enter("reference score", "samples", samples, lambda: _as_a_script(plain.score_epoch))
        works = {name: contestant.work for name, contestant in field.items()}
        with progress.stage("measure", rounds * len(field), "turns") as advance:
            timings = interleave(works, rounds=rounds, device=device, finished=advance)
    return [
        Figure(
            name=name,
            unit=entry.unit,
            per_turn=entry.per_turn,
            timing=timings[name],
            counts=entry.counts,
        )
        for name, entry in field.items()
    ]


def _as_a_script(work: Callable[[], object]) -> None:
    """With the allocator as a script finds it."""
    allocator.defaults()
    work()
    allocator.keep()


def _simulated(folder: Path, samples: int, device: torch.device, progress: Progress) -> Samples:
    data = Data(source="generated", train=samples, test=1, samples_per_file=samples)
    with progress.stage("simulate samples", samples + 1, "records") as advance:
        generate.make(folder, _DATASET, data, device=device, advance=advance)
    return Samples(folder / _DATASET, layout.generated(_DATASET, "train", data))


def _training(
    installed: Installed,
    backbone: str,
    pool: Pool,
    order: Sequence[np.ndarray],
    numerics: Numerics,
) -> tuple[Callable[[], object], Counts]:
    """A turn of training steps, and their counts for one batch."""
    method = installed.method
    config = method.config()
    seed_everything(0)
    adapted = adaptation.adapt(method, backbones.build(backbone), config)
    numerics.place(adapted.model)
    adam = train.optimiser(adapted, config.learning_rate_scale)
    train.activate(adapted, 0.0)

    def turn(batches: Sequence[np.ndarray]) -> None:
        adaptation.training_mode(adapted.model, method.traits.batchnorm)
        with numerics.lean(adapted.model):
            for x, y in pool.batches(list(batches)):
                train.train_step(adapted, adam, x, y, rate=1e-5, numerics=numerics)

    adaptation.training_mode(adapted.model, method.traits.batchnorm)
    cost = probe.step_cost(adapted.model, numerics)
    turn(order[:1])  # the optimiser's state is there before the peak is taken
    with Traffic() as traffic:
        turn(order[:1])
    counts = Counts(
        saved_bytes_per_sample=cost.saved_bytes_per_sample,
        flops_per_sample=cost.flops_per_sample,
        peak_bytes=traffic.peak_bytes,
        moved_bytes_per_sample=traffic.moved_bytes / len(order[0]),
    )
    return lambda: turn(order), counts
