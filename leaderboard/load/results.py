"""Records to tidy frames: fits, scored cells, scored samples.

`fits`: a row a record, with its identity, status and costs. `cells`: a row for each fit and test
set, with a column for each metric. `samples`: the per-sample values of each cell and metric.
Boards, curves, comparisons and figures are expressions over these.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from bench.errors import RecordError
from bench.protocol.columns import COSTS
from bench.protocol.spec import BackboneSpec, Rules, Track, canonical, digest
from bench.records.admission import Admission
from bench.records.record import Execution, Phase, Record
from bench.seismic import metrics
from leaderboard.load import samples
from leaderboard.load.records import BoardKey, Origin, Place, Problem, board_key, walk
from leaderboard.load.samples import TEST, SampleScores

FOUNDATION, FLOOR = "foundation", "floor"
_BATCH = 128
"""Records that are read together: their score files are one scan."""


@dataclass(frozen=True)
class AdmittedRun:
    """A record that was admitted."""

    origin: Origin
    folder: Path
    record: Record

    @cached_property
    def row(self) -> dict[str, Any]:
        """Its row of `fits`."""
        return fit_row(self.record, self.origin, self.folder)


@dataclass
class Batch:
    """Facts of some records."""

    fits: pl.DataFrame
    cells: pl.DataFrame
    samples: SampleScores
    stated: dict[str, tuple[BoardKey, str, str]]
    """The board of each run, and what its record says of track and rules, as JSON."""
    problems: list[Problem]


@dataclass
class Results:
    """The frames of all records; the records themselves are not kept."""

    fits: pl.DataFrame
    cells: pl.DataFrame
    samples: SampleScores
    protocols: dict[BoardKey, tuple[Track, Rules]]
    problems: list[Problem] = field(default_factory=list)
    copied: tuple[str, ...] = ()
    """Ids of runs of which there are several copies."""


def read(sources: Sequence[Path], *, published: Path | None = None) -> Results:
    """The records of these workspaces and the published ones.

    `published` is the folder of published records; None: that of the checkout.
    """
    return merged(facts(*admitted(paths)) for paths in batches(list(walk(sources, published))))


def batches(paths: Sequence[Place]) -> Iterator[Sequence[Place]]:
    """The paths in parts of the size that is read together."""
    return (paths[i : i + _BATCH] for i in range(0, len(paths), _BATCH))


def admitted(paths: Sequence[Place]) -> tuple[list[AdmittedRun], list[Problem]]:
    """The valid records among these, each once, and what is wrong with the others."""
    admission = Admission()
    runs: dict[str, AdmittedRun] = {}
    problems = []
    for origin, path in paths:
        try:
            record = admission.read(path)
        except RecordError as error:
            problems.append(Problem(path, str(error).removeprefix(f"{path}: ")))
        else:
            runs.setdefault(record.run_id, AdmittedRun(origin, path.parent, record))
    return list(runs.values()), problems


def facts(runs: Sequence[AdmittedRun], problems: Sequence[Problem] = ()) -> Batch:
    """Frames of these records, with their per-sample scores."""
    found = list(problems)
    fits = pl.DataFrame(
        [run.row for run in runs],
        schema=_fit_schema(),
        orient="row",
    )
    cells = _cell_frame([run.record for run in runs])
    stated = {run.record.run_id: _stated(run.record) for run in runs}
    return Batch(fits, cells, samples.read(fits, cells, found), stated, found)


def merged(found: Iterable[Batch]) -> Results:
    """The facts of all batches; of several copies of a run the first counts."""
    fits, cells = [pl.DataFrame(schema=_fit_schema())], [pl.DataFrame(schema=_cell_schema())]
    parts: list[SampleScores] = []
    stated: dict[str, tuple[BoardKey, str, str]] = {}
    problems: list[Problem] = []
    copied: set[str] = set()
    for batch in found:
        copies = stated.keys() & batch.stated.keys()
        copied |= copies
        own = _without(batch, copies)
        fits.append(own.fits)
        cells.append(own.cells)
        parts.append(own.samples)
        stated |= own.stated
        problems += own.problems
    together = samples.joined(parts)
    protocols = _protocols(stated.values())
    copied_ids = tuple(sorted(copied))
    return Results(pl.concat(fits), pl.concat(cells), together, protocols, problems, copied_ids)


def _without(batch: Batch, copies: Set[str]) -> Batch:
    """The batch without these runs."""
    if not copies:
        return batch
    kept = batch.fits.select("run_id").filter(~pl.col("run_id").is_in(list(copies)))
    return Batch(
        batch.fits.join(kept, on="run_id", how="semi", maintain_order="left"),
        batch.cells.join(kept, on="run_id", how="semi", maintain_order="left"),
        batch.samples.of(kept),
        {run_id: said for run_id, said in batch.stated.items() if run_id not in copies},
        batch.problems,
    )


def _stated(record: Record) -> tuple[BoardKey, str, str]:
    return board_key(record), record.track.model_dump_json(), record.rules.model_dump_json()


def _protocols(
    stated: Iterable[tuple[BoardKey, str, str]],
) -> dict[BoardKey, tuple[Track, Rules]]:
    """What most records of a board say of its track, whichever comes first.

    Their fingerprints agree; what is not part of it, such as the summary, need not.
    """
    boards: dict[BoardKey, Counter[tuple[str, str]]] = defaultdict(Counter)
    for key, track, rules in stated:
        boards[key][track, rules] += 1
    found = {}
    for key, counts in boards.items():
        most = max(counts.values())
        track, rules = min(both for both, count in counts.items() if count == most)
        found[key] = Track.model_validate_json(track), Rules.model_validate_json(rules)
    return found


def of_records(records: Sequence[Record]) -> Results:
    """Frames of given records, without per-sample scores."""
    fits = [fit_row(record, "local", Path()) for record in records]
    return Results(
        pl.DataFrame(fits, schema=_fit_schema(), orient="row"),
        _cell_frame(records),
        samples.nothing(),
        {board_key(record): (record.track, record.rules) for record in records},
    )


def _cell_frame(records: Iterable[Record]) -> pl.DataFrame:
    rows = [row for record in records for row in cell_rows(record)]
    return pl.DataFrame(rows, schema=_cell_schema(), orient="row")


def fit_row(record: Record, origin: Origin, folder: Path) -> dict[str, Any]:
    """One row of `fits`."""
    spec, method = record.spec, record.spec.method
    return {
        "run_id": record.run_id,
        "origin": origin,
        "folder": str(folder),
        "board": board_key(record).slug,
        "network": network(spec.backbone),
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
        "machine": machine(record.execution),
        "numerics": numerics(record.execution),
        "on_gpu": record.execution.determinism.device != "cpu",
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


def network(backbone: BackboneSpec) -> str:
    """The network, whatever its first weights: what speed and memory depend on."""
    return f"{backbone.name}, {backbone.distribution}, version {backbone.version}"


def machine(execution: Execution) -> str:
    """Description of the machine; timings are comparable within one of these only."""
    m, settings = execution.machine, execution.determinism
    name = m.gpu if m.gpu and settings.device != "cpu" else f"{m.processor}, {m.cores} cores"
    return name if settings.frugal else f"{name}, stock layers"


def numerics(execution: Execution) -> str:
    """What bytes saved for backward depend on: the precision of training, and whose layers."""
    settings = execution.determinism
    return settings.precision if settings.frugal else f"{settings.precision}, stock layers"


def config(row: dict[str, Any]) -> dict[str, Any]:
    """The config of a row of `fits`."""
    plain: dict[str, Any] = json.loads(row["config"])
    return plain


def _fit_schema() -> dict[str, pl.DataType]:
    text = pl.String()
    names = (
        *("run_id", "origin", "folder", "board", "network", "kind", "variant", "method"),
        "distribution",
        *("version", "config", "release", "code", "category", "summary", "source", "start"),
        *("title", "train", "datasets", "percent", "seed", "holdout", "status", "error"),
        *("foundation", "level", "machine", "numerics", "started", "total_parameters"),
    )
    schema: dict[str, pl.DataType] = dict.fromkeys(names, text)
    schema |= {
        "version": pl.Int64(),
        "datasets": pl.List(pl.String()),
        "percent": pl.Int64(),
        "seed": pl.Int64(),
        "holdout": pl.Boolean(),
        "on_gpu": pl.Boolean(),
        "best_epoch_gain": pl.Float64(),
        "total_parameters": pl.Int64(),
    }
    return schema | {column.name: pl.Float64() for column in COSTS}


def _cell_schema() -> dict[str, pl.DataType]:
    text = pl.String()
    keys: dict[str, pl.DataType] = dict.fromkeys(("run_id", *TEST), text)
    return keys | {"samples": pl.Int64()} | {m.name: pl.Float64() for m in metrics.METRICS}
