"""The home folder: where data, foundations, runs and the site live."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from platformdirs import user_data_path

from bench.errors import HomeError
from bench.protocol.spec import FitSpec
from bench.records.record import DELTA_FILE, FILE, FOUNDATION_FILE, SCORES_FILE, Record, read


def default() -> Path:
    """`BENCH_HOME`, or the user's data folder."""
    given = os.environ.get("BENCH_HOME")
    return Path(given) if given else user_data_path("fwi-peft-bench")


class Home:
    """Paths below one folder. Opening it makes the folder and checks that it can be written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser().absolute()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder) as probe:
                probe.write(b"\0" * 4096)
                probe.flush()
                os.fsync(probe.fileno())
        except OSError as error:
            raise HomeError(
                f"Home folder {self.folder} cannot be used: {error.strerror or error}; "
                "choose another with --home or BENCH_HOME."
            ) from error

    def data(self, key: str) -> Path:
        """Generated data of one data key, in OpenFWI's layout."""
        return self.folder / "data" / key

    @property
    def machine_file(self) -> Path:
        """Speeds measured on this machine, for estimates."""
        return self.folder / "machine.json"

    @property
    def site(self) -> Path:
        return self.folder / "site"

    def run(self, spec: FitSpec) -> Path:
        """The folder of one fit: below `foundations` for a pretraining, else below `runs`."""
        kind = "runs" if spec.method else "foundations"
        return self.folder / kind / spec.run_id

    def find(self, spec: FitSpec) -> Record | None:
        """The record of a fit that is done with all its files; None if it has to be run (again)."""
        folder = self.run(spec)
        weights = DELTA_FILE if spec.method else FOUNDATION_FILE
        if not all((folder / name).exists() for name in (FILE, SCORES_FILE, weights)):
            return None
        record = read(folder / FILE)
        return record if record.status == "done" else None

    def was_done(self, spec: FitSpec) -> bool:
        """Whether the record says so, even if some of the run's other files are lost."""
        path = self.run(spec) / FILE
        return path.exists() and read(path).status == "done"

    def records(self) -> Iterator[Path]:
        """Paths of all records, in a fixed order."""
        for kind in ("foundations", "runs"):
            yield from sorted((self.folder / kind).glob(f"*/{FILE}"))

    @contextmanager
    def lock(self, name: str, waiting: Callable[[], None] | None) -> Iterator[bool]:
        """Hold the lock of that name among processes; yields whether it is held.

        If another process has it: calls `waiting` once and waits, or with None does not wait. The
        system gives the lock of a killed process back.
        """
        path = self.folder / "locks" / f"{name}.lock"
        lock = FileLock(path)
        try:
            path.parent.mkdir(exist_ok=True)
            lock.acquire(timeout=0.2)
        except Timeout:
            if waiting is None:
                yield False
                return
            waiting()
            lock.acquire()
        except OSError as error:
            raise HomeError(f"Cannot write {path}: {error.strerror or error}.") from error
        try:
            yield True
        finally:
            lock.release()
