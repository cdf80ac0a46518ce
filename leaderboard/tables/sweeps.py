"""Configs tried on validation data: means over datasets and seeds."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from bench.seismic import metrics
from leaderboard.tables import text


@dataclass(frozen=True, slots=True)
class Tried:
    """A config that was tried: mean over datasets and seeds."""

    config: dict[str, Any]
    scores: dict[str, float]
    """By metric."""
    trainable: float | None
    fits: int
    wanted: int
    """Datasets and seeds of which any config has a fit; means over fewer are not comparable."""

    @property
    def complete(self) -> bool:
        return self.fits == self.wanted


def configs(fits: pl.DataFrame, cells: pl.DataFrame) -> list[Tried]:
    """Configs that were tried, best validation score first, those with fewer fits last.

    `fits` are those of one method with a holdout; `cells` hold their validation scores.
    """
    names = [m.name for m in metrics.METRICS]
    held = cells.filter(pl.col("split") == "validation").select("run_id", *names)
    done = fits.filter(pl.col("status") == "done").join(held, on="run_id")
    if done.is_empty():
        return []
    wanted = done.select("train", "percent", "seed").unique().height
    rows = done.group_by("variant").agg(
        pl.col("config").first(),
        pl.col(names).mean(),
        pl.col("trainable_parameters").first(),
        pl.len().alias("fits"),
    )
    tried = [
        Tried(
            config=json.loads(row["config"]),
            scores={name: row[name] for name in names if row[name] is not None},
            trainable=row["trainable_parameters"],
            fits=row["fits"],
            wanted=wanted,
        )
        for row in rows.iter_rows(named=True)
    ]
    first = metrics.METRICS[0].name
    return sorted(
        tried, key=lambda t: (not t.complete, t.scores.get(first, 0.0), text.config(t.config))
    )


def varying(tried: Sequence[Tried]) -> list[str]:
    """Options that differ between configs."""
    names = sorted({key for t in tried for key in t.config})
    return [n for n in names if len({repr(t.config.get(n)) for t in tried}) > 1]
