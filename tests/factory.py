"""Fake but schema-valid records with scores and maps: deterministic, small, no training."""

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bench.protocol import fingerprint
from bench.protocol.spec import (
    PRETRAINING,
    RULES,
    TARGETS,
    BackboneSpec,
    Budget,
    Data,
    FitSpec,
    MethodSpec,
    PretrainingBudget,
    TestSet,
    Track,
    digest,
)
from bench.records import scores
from bench.records.measurement import Loop, Measurement, MethodLoop
from bench.records.record import (
    MAPS_FILE,
    Cell,
    Counts,
    Determinism,
    Epoch,
    Evaluation,
    Execution,
    Machine,
    MethodCard,
    Phase,
    Record,
    Release,
    write,
)
from bench.seismic import metrics
from bench.seismic.metrics import Metric

SAMPLES = 12
KEPT = 4

TRACK = Track(
    name="mini",
    version=1,
    summary="A track for tests.",
    data=Data(source="generated", train=192, test=SAMPLES, samples_per_file=24),
    pretrain=PretrainingBudget(epochs=30, batch=16),
    fit=Budget(epochs=24, batch=16),
    seeds=(0, 1),
    default_protocol="ood",
    gallery=KEPT,
)


@dataclass(frozen=True, kw_only=True)
class Fake:
    """A method of the factory: `skill` multiplies its errors, `reach` those out of distribution."""

    name: str
    category: str = "additive"
    skill: float = 1.0
    reach: float = 1.0
    trainable: int = 1_148_480
    start: str = "foundation"
    config: dict[str, Any] = field(default_factory=dict)
    distribution: str = "fwi-peft-bench"
    summary: str = "A method of the tests."
    speed: float = 18.0

    @property
    def spec(self) -> MethodSpec:
        return MethodSpec(
            name=self.name,
            distribution=self.distribution,
            version=1,
            config=self.config,
        )


BASELINE = Fake(
    name="baseline",
    category="full",
    skill=1.12,
    reach=1.10,
    trainable=24_409_123,
    start="scratch",
    summary="The backbone trained from scratch.",
)
FFT = Fake(name="fft", category="full", trainable=24_409_123, summary="Full fine-tuning.")
LORA = Fake(name="lora", skill=1.02, reach=0.86, config={"rank": 16, "alpha": 16.0}, speed=21.0)
BITFIT = Fake(
    name="bitfit", category="selective", skill=1.15, reach=0.92, trainable=8_642, speed=25.0
)
ADAPTER = Fake(name="adapter", skill=1.03, reach=0.87, trainable=142_993)
METHODS = (BASELINE, FFT, LORA, BITFIT, ADAPTER)

_LEVELS = (0.06, 0.1, 0.22, 0.08, 0.16, 0.09, 0.12, 0.17, 0.18, 0.17)
_LEVEL = dict(zip((*PRETRAINING, *TARGETS), _LEVELS, strict=True))


BACKBONE = BackboneSpec(name="inversionnet")
FOUNDATION = MethodSpec(name="foundation", distribution="fwi-peft-bench", version=1, config={})


def fingerprint_of(track: Track) -> str:
    """What the records of a track carry."""
    return fingerprint.recorded(track, BACKBONE, RULES, fingerprint.simulation(track))


def populate(
    home: Path,
    methods: Sequence[Fake] = METHODS,
    *,
    seeds: Iterable[int] = (0, 1),
    percents: Iterable[int] = (10, 25, 50, 75, 100),
    targets: Sequence[str] = TARGETS,
    pretraining: bool = True,
    maps: bool = True,
    track: Track = TRACK,
    extra: Sequence[Metric] = (),
) -> list[Record]:
    """A home with the fits of these methods, and their foundations.

    `extra` are metrics beyond those of the table; their scores are those of the first.
    """
    percents = tuple(percents)
    options: dict[str, Any] = {"maps": maps, "track": track, "extra": extra}
    records = []
    for seed in seeds:
        if pretraining:
            records.append(make(home, None, PRETRAINING, seed=seed, **options))
        for method in methods:
            for target in targets:
                for percent in percents:
                    records.append(
                        make(home, method, (target,), percent=percent, seed=seed, **options)
                    )
            if pretraining and method.start == "scratch":
                for dataset in PRETRAINING:
                    records.append(make(home, method, (dataset,), seed=seed, **options))
    return records


def make(
    home: Path,
    method: Fake | None,
    datasets: tuple[str, ...],
    *,
    percent: int = 100,
    seed: int = 0,
    holdout: bool = False,
    status: Literal["done", "failed"] = "done",
    maps: bool = True,
    track: Track = TRACK,
    extra: Sequence[Metric] = (),
) -> Record:
    """One record in its folder, with `scores.parquet` and, if asked for, `maps.npz`."""
    spec = FitSpec(
        kind="adaptation" if method else "pretraining",
        fingerprint=fingerprint_of(track),
        track=track.name,
        backbone=BACKBONE,
        method=method.spec if method else FOUNDATION,
        datasets=datasets,
        percent=percent,
        seed=seed,
        holdout=holdout,
    )
    rng = np.random.default_rng(int(spec.run_id[:8], 16))
    tests = _tests(spec) if status == "done" else ()
    count = track.data.test or SAMPLES
    values = {test: _scores(method, spec, test.dataset, rng, count) for test in tests}
    for columns in values.values():
        columns |= {metric.column: columns["mae"] for metric in extra}
    execution = _execution(
        *("bench", "run", "--method", spec.method.name, "--protocol", "lowdata"), hours=seed
    )
    evaluation = Evaluation(
        cells=tuple(_cell(test, columns, extra) for test, columns in values.items()),
        data_sha256={test.dataset: digest(test.dataset) * 4 for test in tests},
        cost=None,
        execution=execution,
    )
    record = Record(
        run_id=spec.run_id,
        status=status,
        error=None if status == "done" else "FloatingPointError: the loss is NaN (train.py:41)",
        spec=spec,
        track=track,
        rules=RULES,
        simulation=fingerprint.simulation(track),
        method_release=Release(distribution_version="0.1.0", code=digest(spec.method.name)),
        method_card=_method_card(method),
        backbone_release=Release(distribution_version="0.1.0", code="0" * 16),
        foundation_sha256=None if method is None or method.start == "scratch" else "ab" * 32,
        data_sha256={d: digest(d) * 4 for d in datasets},
        curve=_curve(track, rng),
        cost=_phase(method, track, percent) if status == "done" else None,
        counts=_counts(method) if status == "done" else None,
        facts={},
        execution=execution,
        evaluations=(evaluation,) if tests else (),
    )
    folder = home / ("runs" if method else "foundations") / spec.run_id
    write(record, folder)
    if values:
        scores.update(folder, values)
    if values and maps and not holdout:
        (folder / MAPS_FILE).write_bytes(_maps(values, rng))
    return record


def measurement(
    seconds: Mapping[str, tuple[float, ...]],
    *,
    reference: tuple[float, ...] = (4.0, 4.0, 4.0),
    processor: str = "Test CPU",
    backbone: BackboneSpec = BACKBONE,
) -> Measurement:
    """Turns of 32 samples of these methods of `METHODS`, by name, and of the reference loop."""
    named = {method.name: method.spec for method in METHODS}
    execution = _execution("bench", "speed", "--save", "it.json", processor=processor)
    return Measurement(
        backbone=backbone,
        batch=16,
        reference=Loop(
            samples=32, seconds=reference, saved_bytes_per_sample=4e6, peak_bytes=1 << 25
        ),
        methods=tuple(
            MethodLoop(
                method=named[name],
                samples=32,
                seconds=turns,
                saved_bytes_per_sample=1e6,
                peak_bytes=1 << 24,
            )
            for name, turns in seconds.items()
        ),
        execution=execution,
    )


def _tests(spec: FitSpec) -> tuple[TestSet, ...]:
    """What protocols score a fit on: its own datasets, and for a target the other targets too."""
    if spec.holdout:
        return tuple(TestSet(dataset=d, split="validation") for d in spec.datasets)
    names = spec.datasets
    if set(spec.datasets) <= set(TARGETS):
        names += tuple(t for t in TARGETS if t not in spec.datasets)
    return tuple(TestSet(dataset=name) for name in names)


def _execution(*command: str, hours: int = 0, processor: str = "Test CPU") -> Execution:
    return Execution(
        machine=Machine(
            processor=processor,
            cores=2,
            memory_bytes=8 << 30,
            gpu=None,
            driver=None,
            system="Linux",
        ),
        versions={"python": "3.11.7", "torch": "2.15.0"},
        commit="0" * 40,
        dirty=False,
        command=command,
        determinism=Determinism(
            device="cpu",
            precision="bfloat16",
            channels_last=True,
            frugal=True,
            threads=2,
            deterministic_algorithms=False,
        ),
        started=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hours),
        ended=datetime(2026, 1, 1, 0, 3, tzinfo=UTC) + timedelta(hours=hours),
    )


def truth(dataset: str, count: int = KEPT) -> np.ndarray:
    """Layered maps (sample, z, x) in m/s, uint16, the same for every method."""
    rng = np.random.default_rng(int(digest(dataset)[:8], 16))
    z, x = np.mgrid[0:70, 0:70].astype(float)
    maps = []
    for _ in range(count):
        bend = 0 if dataset.startswith("Flat") else rng.uniform(4, 12)
        depth = z + bend * np.sin(x / rng.uniform(8, 20) + rng.uniform(0, 6))
        if "Fault" in dataset:
            depth = depth + 12 * (x > 30 + 0.4 * z)
        layers = np.digitize(depth, np.sort(rng.uniform(0, 70, 6)))
        values = rng.uniform(1500, 4500, 7)
        if dataset.endswith("_A"):
            values.sort()
        maps.append(values[layers])
    return np.stack(maps).astype(np.uint16)


def _scores(
    method: Fake | None, spec: FitSpec, dataset: str, rng: np.random.Generator, count: int
) -> dict[str, np.ndarray]:
    """MAE falls with the data in distribution; hard samples are hard for every method."""
    hardness = np.random.default_rng(int(digest(dataset)[:8], 16)).lognormal(0, 0.25, count)
    own = dataset in spec.datasets
    level = _LEVEL[dataset] * (1.0 if own else 2.0)
    level *= (method.skill if own else method.reach * method.skill**0.3) if method else 0.95
    level *= (100 / spec.percent) ** (0.12 if own else 0.03)
    mae = (level * hardness * rng.lognormal(0.02 * spec.seed, 0.05, count)).astype(np.float32)
    mse = (mae**2 * rng.uniform(1.8, 2.4, count)).astype(np.float32)
    return {
        "mae": mae,
        "mse": mse,
        "ssim": np.exp(-2.2 * mae).astype(np.float32),
        "edge": np.clip(0.9 - 2 * mae, 0, 1).astype(np.float32),
    }


def _cell(test_set: TestSet, values: dict[str, np.ndarray], extra: Sequence[Metric]) -> Cell:
    known = list({m.name: m for m in (*metrics.METRICS, *extra)}.values())
    return Cell(
        test_set=test_set,
        samples=len(values["mae"]),
        scores={m.name: m.aggregated(values[m.column]) for m in known if m.column in values},
        versions={m.name: m.version for m in known if m.column in values},
    )


def _curve(track: Track, rng: np.random.Generator) -> tuple[Epoch, ...]:
    losses = (
        0.15
        + 0.3 * np.exp(-np.arange(track.fit.epochs) / 6)
        + rng.normal(0, 0.004, track.fit.epochs)
    )
    return tuple(
        Epoch(epoch=i, loss=float(loss), learning_rate=8e-4 * (1 if i < 18 else 0.1), seconds=6.0)
        for i, loss in enumerate(losses)
    )


def _phase(method: Fake | None, track: Track, percent: int) -> Phase:
    speed = method.speed if method else 18.0
    samples = (track.data.train or 0) * track.fit.epochs * percent // 100
    return Phase(
        seconds=samples / speed,
        warmup_seconds=0.4,
        samples=samples,
        samples_per_second=speed,
        baseline_bytes=1 << 30,
        peak_resident_bytes=(1 << 30) + int(3e9 / speed * 10),
    )


def _counts(method: Fake | None) -> Counts:
    trainable = method.trainable if method else 24_409_123
    return Counts(
        trainable_parameters=trainable,
        total_parameters=24_409_123,
        optimiser_bytes=8 * trainable,
        saved_bytes_per_sample=2.7e7 if trainable > 2e7 else 9e6,
        flops_per_sample=1.3e10,
        changed_buffers=0,
        adapter_bytes=4 * trainable,
        adapter_sha256="cd" * 32,
    )


def _method_card(method: Fake | None) -> MethodCard:
    if method is None:
        return MethodCard(category="full", summary="", source="", start="scratch")
    return MethodCard(
        category=method.category,
        summary=method.summary,
        source="The factory of the tests",
        start=method.start,
    )


def _maps(values: dict[TestSet, dict[str, np.ndarray]], rng: np.random.Generator) -> bytes:
    arrays = {}
    for test, columns in values.items():
        dataset = test.dataset
        true = truth(dataset)
        blur = sum(np.roll(true.astype(float), s, axis=1) for s in range(-2, 3)) / 5
        noise = rng.normal(0, 1, true.shape) * columns["mae"][:KEPT, None, None] * 500
        arrays[f"{dataset}.sample"] = np.arange(KEPT, dtype=np.int32)
        arrays[f"{dataset}.truth"] = true
        arrays[f"{dataset}.prediction"] = np.clip(blur + noise, 1500, 4500).astype(np.uint16)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def usual(config: dict[str, Any]) -> bool:
    """Whether a method ran with its own BatchNorm policy at its usual learning rate."""
    return not config.get("batchnorm") and config.get("learning_rate_scale", 1.0) == 1.0
