"""Per-sample scores of several methods as one array for `leaderboard.stats`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.protocol.protocols import Protocol
from bench.seismic.metrics import Metric
from leaderboard.load.results import TEST
from leaderboard.stats.estimates import Floats, Moments, moments
from leaderboard.tables.boards import FIT, Board, Variant, cells_of

_KEY = [*FIT, *TEST]


@dataclass(frozen=True, eq=False)
class ScoreArray:
    """Weighted per-sample values, axes (method, seed, sample), and each sample's test set."""

    methods: Floats
    strata: NDArray[np.intp]

    def moments(self) -> Moments:
        return moments(self.methods, self.strata)


def scores(
    board: Board,
    variants: Sequence[Variant],
    protocol: Protocol,
    seeds: Sequence[int],
    metric: Metric,
) -> ScoreArray | None:
    """Scores averaged over the cells of a protocol; None where per-sample scores are not all known.

    A root of a mean (RMSE) is a smooth function of the mean, and enters with its derivative (the
    delta method), so that the mean of the values is the score itself.
    """
    rows = _rows(board, variants, protocol, seeds, metric)
    return None if rows is None else _array(rows, variants, seeds)


def gains(
    board: Board,
    variants: Sequence[Variant],
    protocol: Protocol,
    seeds: Sequence[int],
    metric: Metric,
    reference: Variant,
) -> ScoreArray | None:
    """Gains over a reference method in per cent, averaged over cells, as the paper's bars.

    100·(reference − method)/reference where lower is better, 100·(method − reference)/reference
    where higher is, linearised at the cells' means over seeds and samples. None where per-sample
    scores are not all known or the reference scores 0 in a cell.
    """
    rows = _rows(board, [*variants, reference], protocol, seeds, metric)
    if rows is None:
        return None
    theirs = rows.filter(pl.col("variant") == reference.key).select(
        *_KEY, "seed", "sample", pl.col("value").alias("other")
    )
    joined = rows.join(theirs, on=[*_KEY, "seed", "sample"])
    gained = relative_gain(joined, metric, ["variant", *_KEY])
    if gained.is_empty() or gained.height != joined.height:
        return None
    return _array(gained, variants, seeds)


def relative_gain(rows: pl.DataFrame, metric: Metric, cell: Sequence[str]) -> pl.DataFrame:
    """`value` as the gain in per cent over `other`, linearised at the means over each cell.

    Cells in which the other scores 0 are left out.
    """
    rows = rows.with_columns(
        pl.col("value").mean().over(list(cell)).alias("mean"),
        pl.col("other").mean().over(list(cell)).alias("other_mean"),
    ).filter(pl.col("other_mean") != 0)
    sign = -100.0 if metric.better == "lower" else 100.0
    ratio = pl.col("mean") / pl.col("other_mean")
    slope = (pl.col("value") - ratio * pl.col("other")) / pl.col("other_mean")
    return rows.with_columns((sign * (ratio - 1 + slope)).alias("value"))


def ratios_to_floor(
    board: Board,
    variants: Sequence[Variant],
    protocol: Protocol,
    seeds: Sequence[int],
    metric: Metric,
) -> ScoreArray | None:
    """Scores as ratios to the floor of each test dataset, averaged over cells; linearised alike."""
    rows = _rows(board, variants, protocol, seeds, metric)
    floors = (
        board.floors.select("run_id")
        .join(board.samples, on="run_id")
        .select("dataset", "sample", pl.col(metric.column).cast(pl.Float64).alias("floor"))
    )
    if rows is None or floors.is_empty():
        return None
    joined = rows.join(linear(floors, metric, "floor", ["dataset"]), on=["dataset", "sample"])
    if joined.height != rows.height:
        return None
    joined = joined.with_columns(
        pl.col("value").mean().over("variant", *_KEY).alias("mean"),
        pl.col("floor").mean().over("variant", *_KEY).alias("floor_mean"),
    )
    ratio = pl.col("mean") / pl.col("floor_mean")
    slope = (pl.col("value") - ratio * pl.col("floor")) / pl.col("floor_mean")
    return _array(joined.with_columns((ratio + slope).alias("value")), variants, seeds)


def _rows(
    board: Board,
    variants: Sequence[Variant],
    protocol: Protocol,
    seeds: Sequence[int],
    metric: Metric,
) -> pl.DataFrame | None:
    """A row for each method, seed, cell and sample, with `value` and the cell's `weight`."""
    keys = list(dict.fromkeys(v.key for v in variants))
    wanted = cells_of(protocol)
    fits = board.tested.filter(pl.col("variant").is_in(keys), pl.col("seed").is_in(list(seeds)))
    rows = (
        fits.select("run_id", "variant", "seed", *FIT)
        .join(wanted, on=FIT)
        .join(
            board.samples.select(
                "run_id", *TEST, "sample", pl.col(metric.column).cast(pl.Float64).alias("value")
            ),
            on=["run_id", *TEST],
        )
    )
    cells = rows.select("variant", "seed", *_KEY).unique().height
    if not keys or not seeds or cells != len(keys) * len(set(seeds)) * wanted.height:
        return None
    missing = rows.filter(pl.col("value").is_null()).select(*TEST, "sample").unique()
    if not missing.is_empty():  # undefined for one method: left out for all
        rows = rows.join(missing, on=[*TEST, "sample"], how="anti")
    return linear(rows, metric, "value", ["variant", "seed", *_KEY])


def linear(rows: pl.DataFrame, metric: Metric, column: str, cell: Sequence[str]) -> pl.DataFrame:
    """Values whose mean over a cell is the cell's score."""
    if metric.aggregate == "mean":
        return rows
    mean = pl.col(column).mean().over(list(cell))
    root = mean.sqrt()
    linear = pl.when(root > 0).then(root + (pl.col(column) - mean) / (2 * root)).otherwise(0.0)
    return rows.with_columns(linear.alias(column))


def _array(
    rows: pl.DataFrame, variants: Sequence[Variant], seeds: Sequence[int]
) -> ScoreArray | None:
    order = pl.DataFrame(
        {"variant": [v.key for v in variants], "place": list(range(len(variants)))}
    )
    summed = (
        rows.group_by("variant", "seed", *TEST, "sample")
        .agg((pl.col("value") * pl.col("weight")).sum())
        .join(order, on="variant")
        .sort("place", "seed", *TEST, "sample")
    )
    first = summed.filter(pl.col("place") == 0, pl.col("seed") == min(seeds))
    count = first.height
    if count < 2 or summed.height != len(variants) * len(set(seeds)) * count:
        return None
    strata = first.select(pl.struct(*TEST).rle_id()).to_series().to_numpy()
    if np.bincount(strata).min() < 2:
        return None
    values = summed["value"].to_numpy().reshape(len(variants), len(set(seeds)), count)
    return ScoreArray(values, strata.astype(np.intp))
