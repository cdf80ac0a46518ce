"""Means, intervals, ratios and gains of the published board again, without the harness's code.

    python examples/recompute.py [leaderboard/records/small] [inversionnet_quarter]

Needs polars, numpy and scipy only; reads records as JSON and per-sample scores as Parquet.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import polars as pl
from scipy import stats

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else "leaderboard/records/small")
BACKBONE = sys.argv[2] if len(sys.argv) > 2 else "inversionnet_quarter"
TARGETS = ("FlatVel_B", "CurveFault_B", "Style_A", "Style_B")
CELLS = {
    "in distribution": [(t, t) for t in TARGETS],
    "out of distribution": [(a, b) for a in TARGETS for b in TARGETS if a != b],
}


def read() -> dict[str, dict[tuple[int, str, str], np.ndarray]]:
    """Per-sample MAE by method and (seed, target, test dataset).

    A floor's target is its test dataset.
    """
    found: dict[str, dict[tuple[int, str, str], np.ndarray]] = defaultdict(dict)
    for path in sorted(FOLDER.glob("*/record.json")):
        record = json.loads(path.read_text())
        spec = record["spec"]
        usable = record["status"] == "done" and spec["backbone"]["name"] == BACKBONE
        if not usable or spec["kind"] == "pretraining" or spec["percent"] != 100 or spec["holdout"]:
            continue
        policy = spec["method"]["config"].get("batchnorm")
        name = spec["method"]["name"] + (f" batchnorm={policy}" if policy else "")
        if not path.with_name("scores.parquet").exists():
            continue
        scores = pl.read_parquet(path.with_name("scores.parquet"))
        clean = scores.filter(pl.col("condition") == "clean", pl.col("split") == "test")
        for (dataset,), part in clean.sort("sample").partition_by("dataset", as_dict=True).items():
            key = (spec["seed"], spec["datasets"][0], str(dataset))
            found[name][key] = part["mae"].to_numpy().astype(float)
    return found


def interval(values: dict[tuple[int, str, str], np.ndarray], cells, seeds) -> tuple[float, float]:
    """Mean over cells and half of its 95 % interval: seeds and samples apart, in quadrature."""
    means = np.array([np.mean([values[s, a, b].mean() for a, b in cells]) for s in seeds])
    of_seeds = means.var(ddof=1) / len(seeds)
    parts, degrees = [], []
    for test in sorted({b for _, b in cells}):
        rows = [values[s, a, b] for a, b in cells if b == test for s in seeds]
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


def main() -> None:
    found = read()
    floors = {b: v.mean() for (_, _, b), v in found.pop("floor").items()}
    for title, cells in CELLS.items():
        print(title)
        for name, values in found.items():
            seeds = sorted({s for s, _, _ in values})
            seeds = [s for s in seeds if all((s, a, b) in values for a, b in cells)]
            if len(seeds) < 2:
                continue
            mean, half = interval(values, cells, seeds)
            cell = {(a, b): np.mean([values[s, a, b].mean() for s in seeds]) for a, b in cells}
            ratio = np.mean([cell[c] / floors[c[1]] for c in cells])
            fft = {(a, b): np.mean([found["fft"][s, a, b].mean() for s in seeds]) for a, b in cells}
            gain = np.mean([100 * (1 - cell[c] / fft[c]) for c in cells])
            print(
                f"  {name:24} {mean:.4f} [{mean - half:.4f}, {mean + half:.4f}]"
                f"  x floor {ratio:.2f}  gain {gain:+.1f} %"
            )


if __name__ == "__main__":
    main()
