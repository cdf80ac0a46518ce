"""A home of many invented fits, to measure what the report costs: no result of any training.

    python examples/large_home.py FOLDER [methods] [seeds]

Each fit is a published record of the track `small` (InversionNet at a quarter of its width) with
another method, fraction and seed, the scores changed by random factors and the run id that its
specification gives. 20 methods and 25 seeds, the default, make 10,000 fits: on four targets, with
10 to 100 % of the data. Those on all of it keep the 22 test sets of the published fit, as the
protocol `all` scores them; the others the four of `lowdata`. 9.7 million samples are scored.

    bench report --home FOLDER --out FOLDER/site
"""

import hashlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from bench.protocol.spec import CLEAN, PERCENTS, TARGETS, FitSpec
from bench.records.reader import read
from bench.records.record import FILE, SCORES_FILE, Cell, Record
from bench.seismic import metrics

PUBLISHED = Path(__file__).parents[1] / "leaderboard/records/small"
BACKBONE = "inversionnet_quarter"
FIRST_SEED = 3
"""Published fits have the seeds below."""


def main(home: Path, methods: int, seeds: int) -> None:
    """Write the fits; the same arguments give the same files."""
    templates = published()
    for place in range(methods):
        for record, scores in templates[place % len(templates)]:
            for percent in PERCENTS:
                for seed in range(FIRST_SEED, FIRST_SEED + seeds):
                    spec = specification(record.spec, place // len(templates), percent, seed)
                    write(home, *varied(record, scores, spec))


def published() -> list[list[tuple[Record, pl.DataFrame]]]:
    """Fits on the targets with their per-sample scores, a list for each method, of one seed."""
    found: dict[str, list[tuple[Record, pl.DataFrame]]] = {}
    for path in sorted(PUBLISHED.glob(f"*/{FILE}")):
        record = read(path)
        spec = record.spec
        wanted = spec.kind == "adaptation" and spec.backbone.name == BACKBONE
        if wanted and spec.seed == 0 and not spec.holdout:
            scores = pl.read_parquet(path.parent / SCORES_FILE)
            found.setdefault(spec.method.model_dump_json(), []).append((record, scores))
    return [found[key] for key in sorted(found)]


def specification(spec: FitSpec, copy: int, percent: int, seed: int) -> FitSpec:
    """Identity of another fit; copies of a method after the first have names of their own."""
    method = spec.method
    if copy:
        method = method.model_copy(update={"name": f"{method.name}_{copy + 1}"})
    return spec.model_copy(update={"method": method, "percent": percent, "seed": seed})


def varied(record: Record, scores: pl.DataFrame, spec: FitSpec) -> tuple[Record, pl.DataFrame]:
    """The record under another identity, with errors by factors of its method, seed and samples."""
    if spec.percent < 100:
        scores = scores.filter(
            pl.col("condition") == CLEAN,
            pl.col("split") == "test",
            pl.col("dataset").is_in(TARGETS),
        )
    rng = _random(spec.run_id)
    level = _random(spec.method.model_dump_json()).uniform(0.8, 1.2)
    level *= (100 / spec.percent) ** 0.1 * rng.lognormal(0, 0.02)
    factor = pl.Series(level * rng.lognormal(0, 0.05, scores.height), dtype=pl.Float32)
    scores = scores.with_columns(
        pl.col("mae") * factor,
        pl.col("mse") * factor**2,
        1 - (1 - pl.col("ssim")) * factor,
        pl.col("edge") / factor,
    )
    evaluation = record.evaluations[0].model_copy(
        update={"cells": tuple(_scored(record.cells, scores)), "data_sha256": _data(record)}
    )
    update = {"run_id": spec.run_id, "spec": spec, "evaluations": (evaluation,)}
    return record.model_copy(update=update), scores


def write(home: Path, record: Record, scores: pl.DataFrame) -> None:
    """Write a fit's two files, without waiting for the disk."""
    folder = home / "runs" / record.run_id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text(record.model_dump_json(indent=1) + "\n")
    scores.write_parquet(folder / SCORES_FILE)


def _scored(cells: Sequence[Cell], scores: pl.DataFrame) -> Iterator[Cell]:
    parts = scores.partition_by("dataset", "split", "condition", as_dict=True)
    for cell in cells:
        test = cell.test_set
        part = parts.get((test.dataset, test.split, test.condition))
        if part is None:
            continue
        means = {m.name: m.aggregated(part[m.column].to_numpy()) for m in metrics.METRICS}
        yield cell.model_copy(update={"samples": part.height, "scores": means})


def _data(record: Record) -> dict[str, str]:
    return {k: v for e in record.evaluations for k, v in e.data_sha256.items()}


def _random(text: str) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))


if __name__ == "__main__":
    folder, *counts = sys.argv[1:]
    main(Path(folder), *(int(count) for count in counts or (20, 25)))
