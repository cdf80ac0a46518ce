"""The workspace (`BENCH_HOME`): the folder where data, foundations, runs and the site live."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_data_path

from bench.atomic import remove_leftovers
from bench.errors import HomeError
from bench.leases import Lease, Leases
from bench.protocol.spec import FitSpec
from bench.records.reader import read
from bench.records.record import DELTA_FILE, FILE, FOUNDATION_FILE, Record

_POLL_SECONDS = 0.5
"""Time between checks of work that another process has claimed."""


_STALE_SECONDS = 3600.0
"""Age from which a half-written note of the home is what a killed writer left."""


def default() -> Path:
    """Default workspace: `BENCH_HOME`, or the user's data folder."""
    given = os.environ.get("BENCH_HOME")
    return Path(given) if given else user_data_path("fwi-peft-bench")


def to_read(home: Path | None) -> "Workspace":
    """A workspace that is only read: nothing is created, and it need not be writable.

    Without `home` it is the default one, which may not exist yet. Raises `HomeError` for one that
    was named and is not there.
    """
    workspace = Workspace(home or default(), write=False)
    if home is not None and not workspace.folder.is_dir():
        reason = "is not a folder" if workspace.folder.exists() else "is not there"
        raise HomeError(f"Home folder {workspace.folder} {reason}; check --home or BENCH_HOME.")
    return workspace


class Workspace:
    """Paths below one folder. Construction creates the folder and checks that it is writable.

    With `write=False` it does neither, see `to_read`.
    """

    def __init__(self, folder: Path, *, write: bool = True) -> None:
        try:
            self.folder = folder.expanduser().absolute()
        except RuntimeError as error:  # ~nobody
            raise HomeError(
                f"Home folder {folder} cannot be used: there is no such user; choose another with "
                "--home or BENCH_HOME."
            ) from error
        self.leases = Leases(self.folder / "claims")
        if not write:
            return
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
        for shared in (self.folder, self.hashes, self.finished, *self.folder.glob("plans/*")):
            remove_leftovers(shared, older_seconds=_STALE_SECONDS)

    def data(self, key: str) -> Path:
        """Generated data of one data key, in OpenFWI's layout."""
        return self.folder / "data" / key

    def initial_weights(self, sha256: str) -> Path:
        """Tensors that replace a backbone's random initial ones, by their content hash."""
        return self.folder / "weights" / f"{sha256}.safetensors"

    @property
    def hashes(self) -> Path:
        """Known hashes of data files."""
        return self.folder / "hashes"

    @property
    def conditions(self) -> Path:
        """Records that are simulated anew under a condition, by the content of their dataset."""
        return self.folder / "conditions"

    @property
    def machine_file(self) -> Path:
        """Speeds measured on this machine, for estimates."""
        return self.folder / "machine.json"

    def plan(self, plan_id: str) -> Path:
        """The folder of a plan that several processes work on."""
        return self.folder / "plans" / plan_id

    @property
    def finished(self) -> Path:
        """What is known of commands that have nothing left to do, see `bench.runner.finished`."""
        return self.folder / "finished"

    @property
    def precision(self) -> Path:
        """Which precision the machines that share the home train in."""
        return self.folder / "precision"

    @property
    def site(self) -> Path:
        return self.folder / "site"

    def run(self, spec: FitSpec) -> Path:
        """The folder of one fit: below `foundations` for a pretraining, else below `runs`."""
        kind = "foundations" if spec.kind == "pretraining" else "runs"
        return self.folder / kind / spec.run_id

    def weights(self, spec: FitSpec) -> Path:
        """The file of a fit's trained weights."""
        name = FOUNDATION_FILE if spec.kind == "pretraining" else DELTA_FILE
        return self.run(spec) / name

    def trained(self, spec: FitSpec) -> Record | None:
        """The record of a fit whose training is done and whose weights are there; else None.

        It may say that the fit has failed since, in scoring.
        """
        if not self.weights(spec).exists():
            return None
        record = self.record(spec)
        return record if record and record.is_trained else None

    def record(self, spec: FitSpec) -> Record | None:
        """The record of a fit, whatever its status; None where there is none."""
        path = self.run(spec) / FILE
        return read(path) if path.exists() else None

    def changed(self, spec: FitSpec) -> int:
        """Time of the last change of a fit's record, in ns; 0 where there is none."""
        try:
            return (self.run(spec) / FILE).stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def records(self) -> Iterator[Path]:
        """Paths of all records, in a fixed order."""
        for kind in ("foundations", "runs"):
            yield from sorted((self.folder / kind).glob(f"*/{FILE}"))

    @contextmanager
    def claim(
        self, name: str, title: str, *, plan: str = "", waiting: Callable[[], None] | None
    ) -> Iterator[Lease | None]:
        """Claim the work of that name among all processes that share the home; yields the lease.

        If another process has it: calls `waiting` once and waits, or with None yields None. A dead
        process loses its claim, see `bench.leases`.
        """
        lease: Lease | None = None
        try:
            try:
                lease = self.leases.acquire(name, title, plan=plan)
                if lease is None and waiting is not None:
                    waiting()
                    while (lease := self.leases.acquire(name, title, plan=plan)) is None:
                        time.sleep(_POLL_SECONDS)
            except OSError as error:
                raise HomeError(
                    f"Cannot write {self.folder / 'claims'}: {error.strerror or error}."
                ) from error
            yield lease
        finally:
            if lease is not None:
                lease.release()
