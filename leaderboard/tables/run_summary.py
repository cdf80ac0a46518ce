"""The results of a command as tables of text: means over datasets and seeds."""

from collections.abc import Iterator, Sequence

import polars as pl

from bench.protocol.columns import COSTS
from bench.protocol.spec import CLEAN, PRETRAINING, TARGETS
from bench.seismic import metrics
from leaderboard.load.results import FLOOR, FOUNDATION, Results
from leaderboard.load.samples import TEST
from leaderboard.stats.comparisons import gain_percent
from leaderboard.tables import sweeps, text

Table = tuple[str, Sequence[str], Sequence[Sequence[str]]]
"""Title, headings (``#``: a number), rows."""
_SCORES = (
    ("ID", "mae"),
    ("ID", "ssim"),
    ("OOD", "mae"),
    ("OOD", "ssim"),
    ("Retention", "mae"),
)
_COSTS = ("trainable_parameters", "adapter_bytes", "samples_per_second", "train_seconds")


def tables(found: Results) -> Iterator[Table]:
    """The tables that have rows."""
    scored = found.fits.join(found.cells, on="run_id")
    tested = scored.filter(~pl.col("holdout"))
    if rows := _results(tested):
        columns = ["data", "method", "#%"]
        columns += [f"#{where} {text.label(metric)}" for where, metric in _SCORES]
        columns += [f"#{c.label} {text.unit(c)}".rstrip() for c in COSTS if c.name in _COSTS]
        yield "Results (means over datasets and seeds)", [*columns, "#fits"], rows
    yield from _pretraining(tested)
    held = found.fits.filter(pl.col("holdout"))
    for (name,), part in held.partition_by("method", as_dict=True, maintain_order=True).items():
        yield _sweep(str(name), sweeps.configs(part, found.cells))


def _results(tested: pl.DataFrame) -> list[list[str]]:
    """A row for each method and size of training set, on unchanged test data.

    In distribution, on the other targets, and on the pretraining datasets where a fit on a target
    was scored there.
    """
    on_target = pl.col("datasets").list.first().is_in(TARGETS)
    family = pl.when(on_target).then(pl.lit("targets")).otherwise(pl.lit("pretraining"))
    place = (
        pl.when(pl.col("datasets").list.contains(pl.col("dataset")))
        .then(pl.lit("ID"))
        .when(on_target & pl.col("dataset").is_in(TARGETS))
        .then(pl.lit("OOD"))
        .when(on_target)
        .then(pl.lit("Retention"))
    )
    groups = (
        tested.filter(pl.col("condition") == CLEAN)
        .with_columns(place.alias("place"), family.alias("family"))
        .group_by("family", "variant", "percent", maintain_order=True)
    )
    rows = []
    for (name, _, percent), part in groups:
        cells = [
            text.score(_mean(part.filter(pl.col("place") == where), metric), metric)
            for where, metric in _SCORES
        ]
        fits = part.unique("run_id")
        costs = [
            text.cost(_mean(fits, column.name), column.name)
            for column in COSTS
            if column.name in _COSTS
        ]
        method = part["method"][0]
        rows.append([str(name), method, str(percent), *cells, *costs, str(fits.height)])
    return rows


def _pretraining(tested: pl.DataFrame) -> Iterator[Table]:
    """The paper's Fig. 2 as numbers, for each method fitted on the pretraining datasets."""
    names = [m.name for m in metrics.METRICS]
    clean = tested.filter(pl.col("dataset").is_in(PRETRAINING), pl.col("method") != FLOOR)
    foundation = clean.filter(pl.col("kind") == "pretraining").select("seed", *TEST, *names)
    scratch = clean.filter(
        pl.col("kind") == "adaptation", pl.col("train") == pl.col("dataset")
    ).join(foundation, on=["seed", *TEST], suffix="_foundation")
    for (name,), part in scratch.partition_by("method", as_dict=True, maintain_order=True).items():
        columns = ["dataset"]
        for metric in metrics.METRICS:
            columns += [f"#{metric.label} {FOUNDATION}", f"#{name}", "#gain"]
        rows = []
        for dataset in PRETRAINING:
            here = part.filter(pl.col("dataset") == dataset)
            if not here.is_empty():
                rows.append([dataset, *(word for m in metrics.METRICS for word in _pair(here, m))])
        yield f"Gain of the foundation over {name} (the paper's Fig. 2)", columns, rows


def _pair(part: pl.DataFrame, metric: metrics.Metric) -> tuple[str, str, str]:
    ours, theirs = _mean(part, f"{metric.name}_foundation"), _mean(part, metric.name)
    gain = text.NOTHING
    if ours is not None and theirs:
        percent = float(gain_percent(ours, theirs, better=metric.better or "lower"))
        gain = f"{text.signed(percent)} %"
    return text.score(ours, metric.name), text.score(theirs, metric.name), gain


def _sweep(name: str, tried: Sequence[sweeps.Tried]) -> Table:
    options = sweeps.varying(tried)
    columns = [f"#{option}" for option in options]
    columns += [f"#{m.label}" for m in metrics.METRICS] + ["#trainable", "#fits"]
    rows = [
        [
            *(str(t.config.get(option)) for option in options),
            *(text.score(t.scores.get(m.name), m.name) for m in metrics.METRICS),
            text.count(t.trainable),
            str(t.fits),
        ]
        for t in tried
    ]
    title = f"Sweep of {name}: validation part of the training data (means over datasets, seeds)"
    return title, columns, rows


def _mean(frame: pl.DataFrame, column: str) -> float | None:
    values = frame[column].drop_nulls()
    return None if values.is_empty() else float(values.to_numpy().mean())
