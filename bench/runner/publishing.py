"""Copies of runs for publication: records, per-sample scores, maps of the gallery, misfits."""

from pathlib import Path

import polars as pl

from bench.atomic import write_atomically
from bench.errors import RecordError
from bench.files import irregular
from bench.protocol import fingerprint
from bench.protocol.spec import PERCENTS, BackboneSpec, Track
from bench.records import gathers, maps, misfits
from bench.records.admission import Admission
from bench.records.record import FILE, LARGEST_SCORES_BYTES, MAPS_FILE, SCORES_FILE, Record
from bench.runner.workspace import Workspace

_WITH_MAPS = (PERCENTS[0], PERCENTS[-1])
"""The least training data and all of it (the paper's Figs 7 and 4, 9)."""


def publish(
    workspace: Workspace,
    track: Track,
    backbone: BackboneSpec,
    folder: Path,
    *,
    samples: int | None = None,
) -> list[Record]:
    """Copy all runs of the track's present fingerprint to ``folder/TRACK/RUN_ID/``.

    Failed ones too: a failed seed stays visible. Weights stay at home, and so do the maps of fits
    on 25, 50 and 75 % of the data, which the gallery does not show. `samples`: maps of the first so
    many of each test set, and of the worst; None: all that were kept. The record comes last, so
    that a copy that was interrupted shows no run without its scores. Raises `RecordError` for a
    damaged record, `HomeError` where files cannot be written.
    """
    present = fingerprint.fingerprint(track, backbone)
    published = []
    admission = Admission()
    for path in workspace.records():
        record = admission.read(path)
        if record.spec.fingerprint != present or record.status == "interrupted":
            continue
        target = folder / track.name / record.run_id
        if (scores := path.parent / SCORES_FILE).exists():
            if reason := irregular(scores, LARGEST_SCORES_BYTES):
                raise RecordError(f"{scores}: {reason}")
            write_atomically(target / SCORES_FILE, scores.read_bytes())
        if record.spec.percent in _WITH_MAPS:
            _publish_maps(path.parent, target, samples)
        write_atomically(target / FILE, path.read_bytes())
        published.append(record)
    return published


def _publish_maps(source: Path, target: Path, samples: int | None) -> None:
    """Copy a run's maps and their misfits, of the first samples only where that is asked for."""
    try:
        by_dataset = maps.read(source)
    except ValueError as error:
        raise RecordError(f"{source / MAPS_FILE}: {error}") from error
    rows = misfits.read(source)
    if samples is not None:
        by_dataset = {name: kept.first(samples) for name, kept in by_dataset.items()}
        numbers = [(name, int(i)) for name, kept in by_dataset.items() for i in kept.samples]
        few = pl.DataFrame(numbers, schema=rows.select("dataset", "sample").schema, orient="row")
        rows = rows.join(few, on=["dataset", "sample"], how="semi", maintain_order="left")
    maps.write(target, by_dataset)
    for truth in (map_ for kept in by_dataset.values() for map_ in kept.truth):
        picture = gathers.path(source, truth)
        if irregular(picture, LARGEST_SCORES_BYTES) is None:
            gathers.write(target, truth, gathers.read(picture))
    if not rows.is_empty():
        misfits.write(target, rows.with_columns(maps=pl.lit(misfits.maps_sha256(target))))
