"""Copies what is published of a home's runs: records, per-sample scores, the gallery's maps."""

from pathlib import Path

from bench import fingerprint
from bench.home import Home
from bench.record import FILE, MAPS_FILE, SCORES_FILE, Record, read, write_atomically
from bench.spec import Track


def publish(home: Home, track: Track, backbone: str, folder: Path) -> list[Record]:
    """Copy all runs of the track's present fingerprint to ``folder/TRACK/RUN_ID/``.

    Failed ones too: a failed seed stays visible. Weights stay at home. The record comes last, so
    that a copy that was interrupted shows no run without its scores. Raises `RecordError` for a
    damaged record, `HomeError` where files cannot be written.
    """
    present = fingerprint.fingerprint(track, backbone)
    published = []
    for path in home.records():
        record = read(path)
        if record.spec.fingerprint != present or record.status == "interrupted":
            continue
        target = folder / track.name / record.run_id
        for name in (SCORES_FILE, MAPS_FILE, FILE):
            if (source := path.parent / name).exists():
                write_atomically(target / name, source.read_bytes())
        published.append(record)
    return published
