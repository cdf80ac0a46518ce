"""Shared: a tiny track, one home in which the real command line has run, the real samples."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import commands
import homes
import pytest
import shared
import simulated
from hypothesis import settings

from bench import cli
from bench.runner import machine_speeds
from bench.seismic import simulation
from leaderboard.build import render
from leaderboard.load import records

pytest_plugins = ("chromium",)

# Two test processes share two cores; torch reads this when it is imported, in commands as well
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Hundreds of commands are started: compiling 200 modules takes each of them a third of a second
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# How long an example takes depends on what else the machine does
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")

TINY_TRACK = """
name = "tiny"
version = 1
summary = "For tests: every stage on a handful of samples."
default_protocol = "ood"
default_backbone = "inversionnet_quarter"
gallery = 1
[data]
source = "generated"
train = 4
test = 2
samples_per_file = 3
[pretrain]
epochs = 1
batch = 8
[fit]
epochs = 2
batch = 4
"""

Bench = Callable[..., subprocess.CompletedProcess[str]]
Inside = Callable[..., tuple[int, str, str]]
SPEEDS = machine_speeds.Speeds(
    simulate_records_per_second=4.0,
    score_samples_per_second=100.0,
    train_samples_per_second={"fft": 20.0},
    step_bytes_per_sample=20e6,
)
"""Of a machine that does not exist."""
REAL_COMMANDS = frozenset({"bench", "ran"})
"""Fixtures that start the command in a process of its own."""


LONGEST = (
    *("test_slurm.py", "test_pretrain_devices.py", "test_workers.py"),
    *("test_conformance.py", "test_survival.py"),
)
"""Files that begin first, so that no process ends with one of them alone; those of real commands
with another between them, for they wait for the same home."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that starts real commands as slow; the longest files come first."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else 99)
    for item in items:
        if isinstance(item, pytest.Function) and REAL_COMMANDS & set(item.fixturenames):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def unpublished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keeps the published records out of this process; yields their folder."""
    folder = records.PUBLISHED
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "PUBLISHED", tmp_path_factory.mktemp("published"))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps the user's cache out of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def single_precision() -> Iterator[None]:
    """Has commands train in float32, on every machine, instead of measuring what is faster."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_PRECISION", "float32")
        yield


@pytest.fixture(scope="session")
def tiny_track(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of a track file that makes every stage run in seconds."""
    path = tmp_path_factory.mktemp("track") / "tiny.toml"
    path.write_text(TINY_TRACK, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def bench() -> Bench:
    """Runs the command in a process of its own: ``bench("run", …, home=path)``."""
    return commands.run


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Inside:
    """Runs the command in this process, which is quicker: exit code, standard output and error.

    Where it would measure the machine for its estimate, which takes seconds, it is told SPEEDS.
    """
    monkeypatch.setattr(machine_speeds, "_measure", lambda *_: SPEEDS)

    def call(*words: object, home: Path | None = None) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, words)])
        if home:
            monkeypatch.setenv("BENCH_HOME", str(home))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        code = ended.value.code
        assert isinstance(code, int)
        return (code, *capsys.readouterr())

    return call


@pytest.fixture
def simulated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has this process simulate each map once, however often its record is asked for."""
    monkeypatch.setattr(simulation, "simulate", simulated.once)


@pytest.fixture(scope="session")
def ran(
    bench: Bench, tiny_track: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A home after ``bench run --method baseline,fft,lora --protocol ood``, and what it said.

    Tests must leave the home as it is.
    """

    def make(home: Path) -> None:
        words = ("run", "--method", "baseline,fft", "-m", "lora", "--protocol", "ood")
        done = bench(*words, "--track", str(tiny_track), home=home / "home", OMP_NUM_THREADS="1")
        (home / "done.pickle").write_bytes(pickle.dumps(done))

    folder = shared.folder("ran", make, tmp_path_factory)
    done = pickle.loads((folder / "done.pickle").read_bytes())
    return folder / "home", done


@pytest.fixture(scope="session")
def many_jobs(tiny_track: Path) -> tuple[str, ...]:
    """A command of 33 jobs: 24 fits, 4 foundations as they are, 4 floors, one foundation."""
    methods = "fft,lora,bitfit,head,ssf,baseline"
    return ("run", "--method", methods, "--protocol", "ood", "--track", str(tiny_track))


@pytest.fixture(scope="session")
def serial(
    bench: Bench,
    ran: tuple[Path, subprocess.CompletedProcess[str]],
    many_jobs: tuple[str, ...],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A home after `many_jobs`, one after the other in processes with one thread.

    Tests must leave it as it is. The first 21 jobs are those of `ran`.
    """

    def make(home: Path) -> None:
        homes.copy(ran[0], home, "data", "foundations", "runs")
        done = bench(*many_jobs, home=home, OMP_NUM_THREADS="1")
        assert done.returncode == 0, done.stderr

    return shared.folder("serial", make, tmp_path_factory)


@pytest.fixture(scope="session")
def published_site(unpublished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of the published runs of protocol v2: two backbones, retention and shift.

    Tests must leave it as it is.
    """

    def make(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(records, "PUBLISHED", unpublished / "small")
            render.build([], folder / "site")

    return shared.folder("published", make, tmp_path_factory) / "site"


@pytest.fixture(scope="session")
def openfwi_samples() -> Path:
    """The folder with real OpenFWI samples, or a skip that says why."""
    folder = os.environ.get("OPENFWI_SAMPLES")
    if not folder:
        pytest.skip("OPENFWI_SAMPLES is not set: no real OpenFWI samples on this machine")
    return Path(folder)
