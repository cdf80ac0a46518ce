"""Fake but schema-valid records with scores and maps: deterministic, small, no training."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from bench.protocol.spec import (
    PRETRAINING,
    RULES,
    TARGETS,
    Budget,
    Data,
    FitSpec,
    MethodSpec,
    Part,
    Track,
    digest,
)
from bench.records.record import (
    MAPS_FILE,
    SCORES_FILE,
    Cell,
    Counts,
    Determinism,
    Epoch,
    Machine,
    MethodCard,
    Phase,
    Record,
    write,
)

SAMPLES = 12
KEPT = 4

TRACK = Track(
    name="mini",
    version=1,
    summary="A track for tests.",
    data=Data(source="generated", train=192, test=SAMPLES, samples_per_file=24),
    pretrain=Budget(epochs=30, batch=16),
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
            code=digest(self.name),
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
    fingerprint: str = "0123456789abcdef",
) -> list[Record]:
    """A home with the fits of these methods, and their foundations."""
    percents = tuple(percents)
    options = {"maps": maps, "track": track, "fingerprint": fingerprint}
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
    part: Part = "test",
    status: Literal["done", "failed"] = "done",
    maps: bool = True,
    track: Track = TRACK,
    fingerprint: str = "0123456789abcdef",
) -> Record:
    """One record in its folder, with `scores.parquet` and, if asked for, `maps.npz`."""
    spec = FitSpec(
        fingerprint=fingerprint,
        track=track.name,
        backbone="inversionnet",
        method=method.spec if method else None,
        datasets=datasets,
        percent=percent,
        seed=seed,
        part=part,
    )
    rng = np.random.default_rng(int(spec.run_id[:8], 16))
    scores = (
        {d: _scores(method, spec, d, rng, track.data.test or SAMPLES) for d in spec.test_datasets}
        if status == "done"
        else {}
    )
    record = Record(
        run_id=spec.run_id,
        status=status,
        error=None if status == "done" else "FloatingPointError: the loss is NaN (train.py:41)",
        spec=spec,
        track=track,
        rules=RULES,
        method_distribution_version="0.1.0" if method else None,
        method_card=_method_card(method),
        foundation_sha256=None if method and method.start == "scratch" else "ab" * 32,
        data_sha256={d: digest(d) * 4 for d in spec.test_datasets},
        curve=_curve(track, rng),
        train=_phase(method, track, percent) if status == "done" else None,
        score=None,
        counts=_counts(method) if status == "done" else None,
        cells=tuple(_cell(d, part, frame) for d, frame in scores.items()),
        facts={},
        machine=Machine(
            processor="Test CPU",
            cores=2,
            memory_bytes=8 << 30,
            gpu=None,
            driver=None,
            system="Linux",
        ),
        versions={"python": "3.11.7", "torch": "2.15.0"},
        commit="0" * 40,
        dirty=False,
        command=("bench", "run", "--method", spec.method_name, "--protocol", "lowdata"),
        determinism=Determinism(
            device="cpu",
            precision="bfloat16",
            channels_last=True,
            frugal=True,
            threads=2,
            deterministic_algorithms=False,
        ),
        started=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=seed),
        ended=datetime(2026, 1, 1, 0, 3, tzinfo=UTC) + timedelta(hours=seed),
    )
    folder = home / ("runs" if method else "foundations") / spec.run_id
    write(record, folder)
    if scores:
        frames = [
            f.with_columns(pl.lit(d).alias("dataset"), pl.lit(part).alias("part"))
            for d, f in scores.items()
        ]
        columns = ("dataset", "part", "sample", "mae", "mse", "ssim", "edge")
        pl.concat(frames).select(columns).write_parquet(folder / SCORES_FILE)
    if scores and maps:
        (folder / MAPS_FILE).write_bytes(_maps(scores, rng))
    return record


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
) -> pl.DataFrame:
    """MAE falls with the data in distribution; hard samples are hard for every method."""
    hardness = np.random.default_rng(int(digest(dataset)[:8], 16)).lognormal(0, 0.25, count)
    own = dataset in spec.datasets
    level = _LEVEL[dataset] * (1.0 if own else 2.0)
    level *= (method.skill if own else method.reach * method.skill**0.3) if method else 0.95
    level *= (100 / spec.percent) ** (0.12 if own else 0.03)
    mae = (level * hardness * rng.lognormal(0.02 * spec.seed, 0.05, count)).astype(np.float32)
    mse = (mae**2 * rng.uniform(1.8, 2.4, count)).astype(np.float32)
    ssim = np.exp(-2.2 * mae).astype(np.float32)
    edge = np.clip(0.9 - 2 * mae, 0, 1).astype(np.float32)
    return pl.DataFrame(
        {
            "sample": np.arange(count, dtype=np.int32),
            "mae": mae,
            "mse": mse,
            "ssim": ssim,
            "edge": edge,
        }
    )


def _cell(dataset: str, part: Part, frame: pl.DataFrame) -> Cell:
    return Cell(
        dataset=dataset,
        part=part,
        samples=frame.height,
        mae=float(np.mean(frame["mae"].to_numpy(), dtype=np.float64)),
        rmse=float(np.sqrt(np.mean(frame["mse"].to_numpy(), dtype=np.float64))),
        ssim=float(np.mean(frame["ssim"].to_numpy(), dtype=np.float64)),
        edge=float(np.mean(frame["edge"].to_numpy(), dtype=np.float64)),
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


def _method_card(method: Fake | None) -> MethodCard | None:
    if method is None:
        return None
    return MethodCard(
        category=method.category,
        summary=method.summary,
        source="The factory of the tests",
        start=method.start,
    )


def _maps(scores: dict[str, pl.DataFrame], rng: np.random.Generator) -> bytes:
    arrays = {}
    for dataset, frame in scores.items():
        true = truth(dataset)
        blur = sum(np.roll(true.astype(float), s, axis=1) for s in range(-2, 3)) / 5
        noise = rng.normal(0, 1, true.shape) * frame["mae"].to_numpy()[:KEPT, None, None] * 500
        arrays[f"{dataset}.sample"] = np.arange(KEPT, dtype=np.int32)
        arrays[f"{dataset}.truth"] = true
        arrays[f"{dataset}.prediction"] = np.clip(blur + noise, 1500, 4500).astype(np.uint16)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()
