"""What a run asks of its data before it trains: a fault stops it while nothing is lost."""

import json
from collections.abc import Sequence

from bench.atomic import write_atomically
from bench.data import catalogue
from bench.data.inspection import changed_files, inspect
from bench.data.layout import SPLITS
from bench.errors import DataError
from bench.runner.context import Session


def check_data(session: Session, datasets: Sequence[str]) -> None:
    """Raise `DataError` for the first fault in the files of these datasets.

    First every header and size. Then generated files are compared with the hashes in their
    manifest; real files are read once as `bench data check` does, which takes about as long as one
    epoch takes to read them, and is noted in the home under the hash of their content.
    """
    for dataset in datasets:
        for split in SPLITS:
            session.collection.samples(dataset, split)
    for dataset in datasets:
        errors = _changed(dataset, session) if _generated(session) else _wrong(dataset, session)
        if errors:
            more = len(errors) - 1
            others = f" There are {more} more: see `bench data check`." if more else ""
            raise DataError(f"{errors[0]}{others}")


def _generated(session: Session) -> bool:
    return session.track.data.source == "generated"


def _changed(dataset: str, session: Session) -> Sequence[DataError]:
    found = catalogue.shelf(session.data_root, dataset, session.track.data)
    assert found is not None, "its headers have just been read"
    return changed_files(found, session.progress)


def _wrong(dataset: str, session: Session) -> Sequence[DataError]:
    (content,) = session.data_sha256((dataset,)).values()
    note = session.home.folder / "checked" / f"{content}.json"
    if note.exists():
        return ()
    report = inspect(
        session.data_root,
        dataset,
        session.track.data,
        device=session.numerics.device,
        progress=session.progress,
    )
    if report.ok:
        facts = {"dataset": dataset, "train": report.train, "test": report.test}
        write_atomically(note, json.dumps(facts).encode())
    return report.errors
