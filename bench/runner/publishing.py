"""Copies of runs for publication: records, per-sample scores, maps of the gallery, misfits."""

from pathlib import Path

from bench.atomic import write_atomically
from bench.protocol import fingerprint
from bench.protocol.spec import PERCENTS, BackboneSpec, Track
from bench.records.reader import read
from bench.records.record import FILE, MAPS_FILE, MISFIT_FILE, SCORES_FILE, Record
from bench.runner.workspace import Workspace

_WITH_MAPS = (PERCENTS[0], PERCENTS[-1])
"""The least training data and all of it (the paper's Figs 7 and 4, 9)."""


def publish(
    workspace: Workspace, track: Track, backbone: BackboneSpec, folder: Path
) -> list[Record]:
    """Copy all runs of the track's present fingerprint to ``folder/TRACK/RUN_ID/``.

    Failed ones too: a failed seed stays visible. Weights stay at home, and so do the maps of fits
    on 25, 50 and 75 % of the data, which the gallery does not show. The record comes last, so that
    a copy that was interrupted shows no run without its scores. Raises `RecordError` for a damaged
    record, `HomeError` where files cannot be written.
    """
    present = fingerprint.fingerprint(track, backbone)
    published = []
    for path in workspace.records():
        record = read(path)
        if record.spec.fingerprint != present or record.status == "interrupted":
            continue
        target = folder / track.name / record.run_id
        maps = (MAPS_FILE, MISFIT_FILE) if record.spec.percent in _WITH_MAPS else ()
        for name in (SCORES_FILE, *maps, FILE):
            if (source := path.parent / name).exists():
                write_atomically(target / name, source.read_bytes())
        published.append(record)
    return published
