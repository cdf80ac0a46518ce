"""Records to tidy frames: fits, scored cells, scored samples.

`fits`: a row a record, with its identity, status and costs. `cells`: a row for each fit and test
set, with a column for each metric. `samples`: a row for each fit, test set and sample, with a
column of per-sample values for each metric. Boards, curves, comparisons and figures are expressions
over these.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from bench.errors import describe
from bench.files import irregular
from bench.protocol.columns import COSTS
from bench.protocol.spec import Rules, Track, canonical, digest
from bench.records import scores
from bench.records.record import LARGEST_SCORES_BYTES, SCORES_FILE, Phase, Record
from bench.seismic import metrics
from leaderboard.load.records import BoardKey, Gate, Origin, Problem, board_key, walk

FOUNDATION, FLOOR = "foundation", "floor"
TEST = ("dataset", "split", "condition")
_CHUNK = 1024
"""Score files that are read at once."""
_TOLERANCE = {"rel_tol": 1e-3, "abs_tol": 1e-4}
"""Between a record's scores and those that its per-sample scores give."""


@dataclass
class Results:
    """The frames of all records; the records themselves are not kept."""

    fits: pl.DataFrame
    cells: pl.DataFrame
    samples: pl.DataFrame
    protocols: dict[BoardKey, tuple[Track, Rules]]
    problems: list[Problem] = field(default_factory=list)


def read(sources: Sequence[Path]) -> Results:
    """The records of these workspaces and the published ones."""
    return collect(walk(sources))


def collect(paths: Iterable[tuple[Origin, Path]]) -> Results:
    """Records with their per-sample scores; what cannot be used becomes a problem."""
    gate = Gate()
    problems: list[Problem] = []
    stated: dict[BoardKey, Counter[tuple[str, str]]] = defaultdict(Counter)
    fits: list[dict[str, Any]] = []
    cells: list[dict[str, Any]] = []
    for origin, path in paths:
        record = gate.admit(path)
        if isinstance(record, Problem):
            problems.append(record)
        elif record:
            both = (record.track.model_dump_json(), record.rules.model_dump_json())
            stated[board_key(record)][both] += 1
            fits.append(fit_row(record, origin, path.parent))
            cells += cell_rows(record)
    fit_frame = pl.DataFrame(fits, schema=_fit_schema(), orient="row")
    cell_frame = pl.DataFrame(cells, schema=_cell_schema(), orient="row")
    samples = _samples(fit_frame, cell_frame, problems)
    protocols = {key: _most_stated(found) for key, found in stated.items()}
    return Results(fit_frame, cell_frame, samples, protocols, problems)


def _most_stated(found: "Counter[tuple[str, str]]") -> tuple[Track, Rules]:
    """What most records of a board say of their track, whichever comes first.

    Their fingerprints agree; what is not part of it, such as the summary, need not.
    """
    most = max(found.values())
    track, rules = min(both for both, count in found.items() if count == most)
    return Track.model_validate_json(track), Rules.model_validate_json(rules)


def of_records(records: Sequence[Record]) -> Results:
    """Frames of given records, without per-sample scores."""
    fits = [fit_row(record, "local", Path()) for record in records]
    cells = [row for record in records for row in cell_rows(record)]
    return Results(
        pl.DataFrame(fits, schema=_fit_schema(), orient="row"),
        pl.DataFrame(cells, schema=_cell_schema(), orient="row"),
        pl.DataFrame(schema=_sample_schema()),
        {board_key(record): (record.track, record.rules) for record in records},
    )


def fit_row(record: Record, origin: Origin, folder: Path) -> dict[str, Any]:
    """One row of `fits`."""
    spec, method = record.spec, record.spec.method
    return {
        "run_id": record.run_id,
        "origin": origin,
        "folder": str(folder),
        "board": board_key(record).slug,
        "kind": spec.kind,
        "variant": method.name if spec.kind != "adaptation" else digest(method.model_dump()),
        "method": method.name,
        "distribution": method.distribution,
        "version": method.version,
        "config": canonical(method.config),
        "release": record.method_release.distribution_version,
        "code": record.method_release.code,
        "category": record.method_card.category,
        "summary": record.method_card.summary,
        "source": record.method_card.source,
        "start": record.method_card.start,
        "title": spec.title,
        "train": spec.datasets[0] if len(spec.datasets) == 1 else None,
        "datasets": list(spec.datasets),
        "percent": spec.percent,
        "seed": spec.seed,
        "holdout": spec.holdout,
        "status": record.status,
        "error": record.error,
        "foundation": record.foundation_sha256,
        "level": record.level,
        "best_epoch_gain": best_epoch_gain(record),
        "machine": machine(record),
        "started": record.execution.started.strftime("%Y-%m-%d"),
        "total_parameters": record.counts.total_parameters if record.counts else None,
        **costs(record),
    }


def cell_rows(record: Record) -> list[dict[str, Any]]:
    """The rows of `cells` of one record; a metric that it lacks is null."""
    if record.status != "done":
        return []
    return [
        {
            "run_id": record.run_id,
            **cell.test_set.model_dump(),
            "samples": cell.samples,
            **{metric.name: cell.scores.get(metric.name) for metric in metrics.METRICS},
        }
        for cell in record.cells
    ]


def best_epoch_gain(record: Record) -> float | None:
    """MAE on the own test set after the last epoch, minus that of the best; None if unknown."""
    errors = [epoch.test_mae for epoch in record.curve]
    known = [error for error in errors if error is not None]
    return known[-1] - min(known) if known and len(known) == len(errors) else None


def costs(record: Record) -> dict[str, float | None]:
    """Every cost column by name; None where unknown."""
    counts, train = record.counts, record.cost
    values: dict[str, float | None] = dict.fromkeys(column.name for column in COSTS)
    if counts:
        values |= {
            "trainable_parameters": counts.trainable_parameters,
            "adapter_bytes": counts.adapter_bytes,
            "optimiser_bytes": counts.optimiser_bytes,
            "saved_bytes_per_sample": counts.saved_bytes_per_sample,
            "flops_per_sample": counts.flops_per_sample,
        }
    if train:
        values |= {
            "peak_bytes": peak_bytes(train),
            "samples_per_second": train.samples_per_second,
            "train_seconds": train.seconds,
        }
    return values


def peak_bytes(phase: Phase) -> int | None:
    """Peak above what lay in memory before: on the device for a GPU, resident for a CPU."""
    peak = phase.peak_allocated_bytes or phase.peak_resident_bytes
    if peak is None or phase.baseline_bytes is None:
        return None
    return max(peak - phase.baseline_bytes, 0)


def machine(record: Record) -> str:
    """Description of the machine; timings are comparable within one of these only."""
    m, settings = record.execution.machine, record.execution.determinism
    name = m.gpu if m.gpu and settings.device != "cpu" else f"{m.processor}, {m.cores} cores"
    return name if settings.frugal else f"{name}, stock layers"


def config(row: dict[str, Any]) -> dict[str, Any]:
    """The config of a row of `fits`."""
    plain: dict[str, Any] = json.loads(row["config"])
    return plain


def _fit_schema() -> dict[str, pl.DataType]:
    text = pl.String()
    names = (
        *("run_id", "origin", "folder", "board", "kind", "variant", "method", "distribution"),
        *("version", "config", "release", "code", "category", "summary", "source", "start"),
        *("title", "train", "datasets", "percent", "seed", "holdout", "status", "error"),
        *("foundation", "level", "machine", "started", "total_parameters"),
    )
    schema: dict[str, pl.DataType] = dict.fromkeys(names, text)
    schema |= {
        "version": pl.Int64(),
        "datasets": pl.List(pl.String()),
        "percent": pl.Int64(),
        "seed": pl.Int64(),
        "holdout": pl.Boolean(),
        "best_epoch_gain": pl.Float64(),
        "total_parameters": pl.Int64(),
    }
    return schema | {column.name: pl.Float64() for column in COSTS}


def _cell_schema() -> dict[str, pl.DataType]:
    text = pl.String()
    keys: dict[str, pl.DataType] = dict.fromkeys(("run_id", *TEST), text)
    return keys | {"samples": pl.Int64()} | {m.name: pl.Float64() for m in metrics.METRICS}


def _sample_schema() -> dict[str, pl.DataType]:
    keys: dict[str, pl.DataType] = dict.fromkeys(("run_id", *TEST), pl.String())
    return keys | {"sample": pl.Int32()} | {m.column: pl.Float32() for m in metrics.METRICS}


def _samples(fits: pl.DataFrame, cells: pl.DataFrame, problems: list[Problem]) -> pl.DataFrame:
    """Per-sample scores of all finished fits that have a file."""
    paths: dict[str, str] = {}
    stated = dict(cells.group_by("run_id").agg(pl.col("samples").sum()).iter_rows())
    for row in fits.filter(pl.col("status") == "done").iter_rows(named=True):
        path = Path(row["folder"]) / SCORES_FILE
        if not path.exists() and not path.is_symlink():
            continue
        if reason := irregular(path, LARGEST_SCORES_BYTES):
            problems.append(Problem(path, reason))
        else:
            paths[str(path)] = row["run_id"]
    names = list(paths)
    frames = [
        frame
        for start in range(0, len(names), _CHUNK)
        for frame in _read(
            {name: stated.get(paths[name], 0) for name in names[start : start + _CHUNK]}, problems
        )
    ]
    if not frames:
        return pl.DataFrame(schema=_sample_schema())
    ids = pl.DataFrame({"path": names, "run_id": list(paths.values())})
    together = pl.concat(frames).join(ids, on="path", maintain_order="left").drop("path")
    together = together.select(*_sample_schema())
    bad = _disagreements(together, cells)
    folders = dict(fits.select("run_id", "folder").iter_rows())
    firsts = bad.unique("run_id", keep="first", maintain_order=True)
    for run_id, dataset in firsts.select("run_id", "dataset").iter_rows():
        reason = (
            f"Scores of {dataset} are missing, or do not give the means that the record states."
        )
        problems.append(Problem(Path(folders[run_id]) / SCORES_FILE, reason))
    return together.join(bad.select("run_id"), on="run_id", how="anti", maintain_order="left")


def _read(paths: Mapping[str, int], problems: list[Problem]) -> list[pl.DataFrame]:
    """Files, and how many rows each may have, in one go; where that fails, one by one."""
    columns = [metric.column for metric in metrics.METRICS]
    try:
        return [scores.read_bounded(list(paths), columns, sum(paths.values()))]
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a damaged file may make Polars panic, which is no Exception
        if len(paths) == 1:
            reason = describe(error)[:200].rstrip(".")
            problems.append(Problem(Path(*paths), f"Scores cannot be read: {reason}."))
            return []
    return [frame for one in paths.items() for frame in _read(dict([one]), problems)]


def _disagreements(samples: pl.DataFrame, cells: pl.DataFrame) -> pl.DataFrame:
    """Cells whose per-sample scores do not give the scores of the record."""
    means = samples.group_by("run_id", *TEST).agg(
        pl.len().alias("found"),
        *(_mean(metric).alias(f"{metric.name}_found") for metric in metrics.METRICS),
    )
    known = samples.select("run_id").unique()
    joined = cells.join(known, on="run_id", how="semi").join(
        means, on=["run_id", *TEST], how="left"
    )
    wrong = pl.col("found").is_null() | (pl.col("found") != pl.col("samples"))
    for metric in metrics.METRICS:
        stated, given = pl.col(metric.name), pl.col(f"{metric.name}_found")
        largest = pl.max_horizontal(stated.abs(), given.abs())
        bound = pl.max_horizontal(_TOLERANCE["rel_tol"] * largest, pl.lit(_TOLERANCE["abs_tol"]))
        apart = ((stated - given).abs() > bound) | ~given.is_finite()
        wrong |= apart.fill_null(value=False)
    return joined.filter(wrong)


def _mean(metric: metrics.Metric) -> pl.Expr:
    mean = pl.col(metric.column).cast(pl.Float64).mean()
    return mean.sqrt() if metric.aggregate == "root_mean" else mean
