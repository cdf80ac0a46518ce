"""Means, ratios, gains, differences and intervals of the published boards, without our own code.

    python examples/recompute.py [leaderboard/records/small] [inversionnet_quarter]

Needs polars, numpy and scipy only; reads records as JSON and per-sample scores as Parquet.
"""

import json
import sys
from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
from scipy import stats

TARGETS = ("FlatVel_B", "CurveFault_B", "Style_A", "Style_B")
SOURCES = ("FlatVel_A", "CurveVel_A", "CurveVel_B", "FlatFault_A", "FlatFault_B", "CurveFault_A")
CHANGES = (
    *("noise_20db", "noise_10db", "noise_0db", "dead_10", "dead_30", "dead_shot"),
    *("gain_half", "gain_double", "static_10ms", "source_10hz", "source_20hz", "displaced_10m"),
)
ELSEWHERE = [(a, b, "clean") for a in TARGETS for b in TARGETS if a != b]
PROTOCOLS = {
    "id": (100, [(t, t, "clean") for t in TARGETS]),
    "ood": (100, ELSEWHERE),
    "retention": (100, [(t, s, "clean") for t in TARGETS for s in SOURCES]),
    "shift": (100, [(t, t, c) for t in TARGETS for c in ("clean", *CHANGES)]),
    "lowdata 10 %": (10, [*((t, t, "clean") for t in TARGETS), *ELSEWHERE]),
    "lowdata 25 %": (25, [*((t, t, "clean") for t in TARGETS), *ELSEWHERE]),
}
"""Share of the training data, and cells: training dataset, test dataset, acquisition."""

Cell = tuple[str, str, str]
Scores = dict[tuple[int, Cell], np.ndarray]
"""MAE of each test sample, by seed and cell."""


@dataclass(frozen=True)
class Against:
    """A method against `fft` under a protocol."""

    difference: float
    half_interval: float
    gain_percent: float
    seeds: int


@dataclass(frozen=True)
class Row:
    """A method under a protocol."""

    mean: float
    half_interval: float
    times_floor: float | None
    """Mean over cells of MAE over that of the mean training map; None where there is none."""
    seeds: int
    against: Against | None
    """None for `fft`, and where too few seeds are shared with it."""


def read(folder: Path, backbone: str) -> dict[tuple[str, int], Scores]:
    """Per-sample scores by method and percentage; those of the floor by their test dataset."""
    found: dict[tuple[str, int], Scores] = defaultdict(dict)
    for path in sorted(folder.glob("*/record.json")):
        record = json.loads(path.read_text())
        if "evaluations" not in record:
            continue  # protocol v1
        spec, table = record["spec"], path.with_name("scores.parquet")
        usable = record["status"] == "done" and spec["backbone"]["name"] == backbone
        if not usable or spec["kind"] == "pretraining" or spec["holdout"] or not table.exists():
            continue
        config = spec["method"]["config"]
        marks = {"batchnorm": None, "learning_rate_scale": 1.0}  # as usual
        unlike = [
            f" {key}={config[key]}" for key in marks if config.get(key) not in (None, marks[key])
        ]
        name = "".join((spec["method"]["name"], *unlike))
        tested = pl.read_parquet(table).filter(pl.col("split") == "test").sort("sample")
        for (dataset, condition), part in tested.partition_by(
            "dataset", "condition", as_dict=True
        ).items():
            cell = (spec["datasets"][0], str(dataset), str(condition))
            mae = part["mae"].to_numpy().astype(float)
            found[name, spec["percent"]][spec["seed"], cell] = mae
    return found


def interval(values: Scores, cells: list[Cell], seeds: list[int]) -> tuple[float, float]:
    """Mean over cells and half of its 95 % interval: seeds and samples apart, in quadrature."""
    means = np.array([np.mean([values[s, c].mean() for c in cells]) for s in seeds])
    of_seeds = means.var(ddof=1) / len(seeds)
    parts, degrees = [], []
    for test in sorted({dataset for _, dataset, _ in cells}):
        rows = [values[s, c] for c in cells if c[1] == test for s in seeds]
        per_sample = np.sum(rows, axis=0) / (len(cells) * len(seeds))
        parts.append(per_sample.var(ddof=1) / len(per_sample))
        degrees.append(len(per_sample) - 1)
    of_samples = sum(parts)
    welch = of_samples**2 / sum(p**2 / d for p, d in zip(parts, degrees, strict=True))
    half = np.sqrt(
        stats.t.ppf(0.975, len(seeds) - 1) ** 2 * of_seeds
        + stats.t.ppf(0.975, welch) ** 2 * of_samples
    )
    return float(means.mean()), float(half)


def rows(found: dict[tuple[str, int], Scores], protocol: str) -> dict[str, Row]:
    """The methods that have every cell of a protocol for two seeds or more.

    Means are over a method's own seeds, differences and gains over those that it shares with `fft`:
    three or more where any two methods share three.
    """
    percent, cells = PROTOCOLS[protocol]
    floors = {cell[1]: mae.mean() for (_, cell), mae in found["floor", 100].items()}
    levels = np.array([floors.get(dataset, np.nan) for _, dataset, _ in cells])
    complete: dict[str, set[int]] = {}
    for (name, share), values in found.items():
        whole = {s for s, _ in values if all((s, c) in values for c in cells)}
        if share == percent and len(whole) > 1:
            complete[name] = whole
    most = max((len(complete[a] & complete[b]) for a, b in combinations(complete, 2)), default=0)
    table = {}
    for name in sorted(complete):
        values, seeds = found[name, percent], sorted(complete[name])
        mean, half = interval(values, cells, seeds)
        own = np.array([np.mean([values[s, c].mean() for s in seeds]) for c in cells])
        table[name] = Row(
            mean=mean,
            half_interval=half,
            times_floor=None if np.isnan(levels).any() else float(np.mean(own / levels)),
            seeds=len(seeds),
            against=None,
        )
        shared = sorted(complete[name] & complete.get("fft", set()))
        if name != "fft" and len(shared) >= min(most, 3) and len(shared) > 1:
            table[name] = replace(
                table[name], against=against(values, found["fft", percent], cells, shared)
            )
    return table


def against(values: Scores, fft: Scores, cells: list[Cell], seeds: list[int]) -> Against:
    """A method against `fft` on the same seeds and samples."""
    apart = {(s, c): values[s, c] - fft[s, c] for s in seeds for c in cells}
    difference, half = interval(apart, cells, seeds)
    own = np.array([np.mean([values[s, c].mean() for s in seeds]) for c in cells])
    its = np.array([np.mean([fft[s, c].mean() for s in seeds]) for c in cells])
    gain = float(np.mean(100 * (1 - own / its)))
    return Against(difference=difference, half_interval=half, gain_percent=gain, seeds=len(seeds))


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "leaderboard/records/small")
    found = read(folder, sys.argv[2] if len(sys.argv) > 2 else "inversionnet_quarter")
    for protocol in PROTOCOLS:
        table = rows(found, protocol)
        if table:
            print(protocol)
        for name, row in table.items():
            low, high = row.mean - row.half_interval, row.mean + row.half_interval
            line = f"  {name:27} {row.seeds} seeds {row.mean:.4f} [{low:.4f}, {high:.4f}]"
            if row.times_floor is not None:
                line += f"  x floor {row.times_floor:.2f}"
            if row.against:
                a = row.against
                line += f"  gain {a.gain_percent:+.1f} %  difference {a.difference:+.4f}"
                line += f" ± {a.half_interval:.4f} ({a.seeds} seeds)"
            print(line)


if __name__ == "__main__":
    main()
