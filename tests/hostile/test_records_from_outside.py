"""Records, scores and maps of anybody: a problems page says what is wrong, the rest is shown.

Each damage is put into one run of a home of its own; the report must name that file, show all other
runs, and read nothing that is not a record's own regular file.
"""

import io
import json
import os
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import factory
import matrix
import numpy as np
import polars as pl
import pytest

from bench.protocol.spec import TARGETS
from leaderboard.build import render
from leaderboard.build.render import BuiltSite

SECRET = "root:x:0:0"
Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods on two targets, with maps."""
    home = tmp_path_factory.mktemp("home")
    targets = TARGETS[:2]
    methods = (factory.FFT, factory.LORA)
    factory.populate(home, methods, seeds=(0,), percents=(100,), targets=targets, pretraining=False)
    return home


@pytest.fixture
def home(sound: Path, tmp_path: Path) -> Path:
    shutil.copytree(sound, tmp_path / "home")
    return tmp_path / "home"


def victim(home: Path) -> Path:
    """The folder of one run, the same at every call."""
    return min((home / "runs").iterdir())


def built(home: Path) -> BuiltSite:
    return render.build([home], home.parent / "site")


def shown(site: BuiltSite) -> set[str]:
    """Run ids that have a page."""
    return {path.stem for path in (site.index.parent / "runs").glob("*.html")}


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "record.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def text(folder: Path, old: str, new: str) -> None:
    path = folder / "record.json"
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new, 1))


def put(*keys: str | int, value: Any) -> Damage:
    def change(content: dict[str, Any]) -> None:
        place: Any = content
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return lambda folder: edit(folder, change)


def link(name: str) -> Damage:
    def damage(folder: Path) -> None:
        secret = folder.parents[2] / "passwd"
        secret.write_text(SECRET)
        (folder / name).unlink()
        (folder / name).symlink_to(secret)

    return damage


def fifo(name: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return damage


RECORDS: dict[str, Damage] = {
    "a link": link("record.json"),
    "a FIFO": fifo("record.json"),
    "a folder": lambda f: ((f / "record.json").unlink(), (f / "record.json").mkdir()),
    "too large": lambda f: (f / "record.json").write_bytes(b" " * 5_000_000),
    "empty": lambda f: (f / "record.json").write_bytes(b""),
    "cut short": lambda f: os.truncate(f / "record.json", 700),
    "not UTF-8": lambda f: (f / "record.json").write_bytes(b"\xff\xfe{}"),
    "a list": lambda f: (f / "record.json").write_text("[]"),
    "deeply nested": lambda f: (f / "record.json").write_text("[" * 100_000),
    "NaN as a loss": put("curve", 0, "loss", value=float("nan")),
    "infinite seconds": put("cost", "seconds", value=float("inf")),
    "10^400 as a float": lambda f: text(f, '"seconds": ', '"seconds": 1' + "0" * 400 + ', "x": '),
    "10^400 samples": put("cost", "samples", value=10**400),
    "2^60 samples": put("evaluations", 0, "cells", 0, "samples", value=2**60),
    "NaN as a score": put("evaluations", 0, "cells", 0, "scores", "mae", value=float("nan")),
    "negative parameters": put("counts", "trainable_parameters", value=-1),
    "an id that leads elsewhere": put("run_id", value="../../../tmp/x"),
    "an id of something else": put("run_id", value="0" * 16),
    "another folder's name": lambda f: f.rename(f.with_name("f" * 16)),
    "a track that leads elsewhere": put("track", "name", value="../../etc"),
    "another track": put("track", "name", value="other"),
    "another budget than its fingerprint": put("track", "fit", "epochs", value=7),
    "other rules than its fingerprint": put("rules", "peak_learning_rate", value=1.0),
    "another fingerprint": put("spec", "fingerprint", value="0" * 16),
    "no datasets": put("spec", "datasets", value=[]),
    "a dataset that leads elsewhere": put("spec", "datasets", value=["../../x"]),
    "an unknown field": put("surprise", value=1),
    "an unknown status": put("status", value="splendid"),
    "a schema of the future": put("schema_version", value=99),
    "a schema of nobody": put("schema_version", value=-1),
}


@pytest.mark.parametrize("name", matrix.every(3, RECORDS))
def test_a_bad_record_is_a_problem_and_the_others_are_shown(home: Path, name: str) -> None:
    ids = {path.name for path in (home / "runs").iterdir()}
    folder = victim(home)
    RECORDS[name](folder)
    site = built(home)
    (problem,) = site.problems
    assert problem.path.name == "record.json" and problem.reason
    assert shown(site) == ids - {folder.name}
    everything = "".join(p.read_text() for p in site.index.parent.rglob("*.html"))
    assert SECRET not in everything
    assert (
        folder.name in (site.index.parent / "problems.html").read_text() or "f" * 16 in everything
    )


def scores(change: Callable[[pl.DataFrame], pl.DataFrame]) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / "scores.parquet"
        change(pl.read_parquet(path)).write_parquet(path)

    return damage


SCORES: dict[str, Damage] = {
    "a link": link("scores.parquet"),
    "a FIFO": fifo("scores.parquet"),
    "a folder": lambda f: ((f / "scores.parquet").unlink(), (f / "scores.parquet").mkdir()),
    "empty": lambda f: (f / "scores.parquet").write_bytes(b""),
    "no Parquet": lambda f: (f / "scores.parquet").write_bytes(b"PAR1 no PAR1"),
    "cut short": lambda f: os.truncate(f / "scores.parquet", 900),
    "a bomb": scores(
        lambda t: pl.concat([t.head(1)] * 1).select(pl.all().repeat_by(10**6).explode())
    ),
    "other values": scores(lambda t: t.with_columns(mae=pl.col("mae") + 1)),
    "infinite values": scores(lambda t: t.with_columns(mae=pl.lit(float("inf"), pl.Float32))),
    "texts for numbers": scores(lambda t: t.with_columns(mae=pl.lit("0.1"))),
    "numbers for texts": scores(lambda t: t.with_columns(dataset=pl.lit(1))),
    "lists": scores(lambda t: t.with_columns(mae=pl.concat_list("mae", "mse"))),
    "rows missing": scores(lambda t: t.head(3)),
    "no column of samples": scores(lambda t: t.drop("sample")),
    "no columns": lambda f: pl.DataFrame().write_parquet(f / "scores.parquet"),
}


@pytest.mark.parametrize("name", matrix.every(3, SCORES))
def test_bad_scores_are_a_problem_and_the_run_is_shown_without(home: Path, name: str) -> None:
    ids = {path.name for path in (home / "runs").iterdir()}
    folder = victim(home)
    SCORES[name](folder)
    site = built(home)
    assert {p.path for p in site.problems} == {folder / "scores.parquet"}
    assert shown(site) == ids
    assert not (site.index.parent / f"runs/{folder.name}.parquet").is_symlink()


def archive(**arrays: Any) -> Damage:
    def damage(folder: Path) -> None:
        with np.load(folder / "maps.npz") as old:
            content = dict(old) | arrays
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **content)
        (folder / "maps.npz").write_bytes(buffer.getvalue())

    return damage


def bomb(folder: Path) -> None:
    with zipfile.ZipFile(folder / "maps.npz", "w", zipfile.ZIP_DEFLATED) as file:
        for kind in ("sample", "truth", "prediction"):
            with file.open(f"Style_A.{kind}.npy", "w", force_zip64=True) as entry:
                for _ in range(100):
                    entry.write(bytes(1_000_000))


def first(folder: Path) -> str:
    with np.load(folder / "maps.npz") as file:
        return next(iter(file)).rpartition(".")[0]


def of_first(kind: str, array: Callable[[], Any]) -> Damage:
    return lambda folder: archive(**{f"{first(folder)}.{kind}": array()})(folder)


MAPS: dict[str, Damage] = {
    "a link": link("maps.npz"),
    "a FIFO": fifo("maps.npz"),
    "no archive": lambda f: (f / "maps.npz").write_bytes(b"PK\3\4 no archive"),
    "cut short": lambda f: os.truncate(f / "maps.npz", 2000),
    "a bomb": bomb,
    "floats": of_first("prediction", lambda: np.zeros((4, 70, 70), np.float32)),
    "another shape": of_first("truth", lambda: np.zeros((4, 7, 7), np.uint16)),
    "no dimensions": of_first("sample", lambda: np.int32(3)),
    "objects": of_first("sample", lambda: np.array([{}, None, [], 1], dtype=object)),
    "negative samples": of_first("sample", lambda: -np.arange(4, dtype=np.int32)),
    "samples twice": of_first("sample", lambda: np.zeros(4, np.int32)),
}


@pytest.mark.parametrize("name", matrix.every(3, MAPS))
def test_bad_maps_are_a_problem_and_the_run_is_shown_without(home: Path, name: str) -> None:
    ids = {path.name for path in (home / "runs").iterdir()}
    folder = victim(home)
    MAPS[name](folder)
    site = built(home)
    assert {p.path for p in site.problems} == {folder / "maps.npz"}
    assert shown(site) == ids


def test_a_record_that_differs_beside_its_fingerprint_does_not_define_the_board(
    home: Path,
) -> None:
    """The first record in the order of names said what track all others were on."""
    put("track", "summary", value="MINE NOW")(victim(home))
    site = built(home)
    assert site.problems == ()
    protocol = (site.index.parent / "protocol.html").read_text()
    assert "MINE NOW" not in protocol
    assert factory.TRACK.summary in protocol


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Some bytes changed, cut out or doubled."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 8)):
        place = rng.randrange(len(data))
        kind = rng.randrange(4)
        if kind == 0:
            data[place] = rng.randrange(256)
        elif kind == 1:
            del data[place : place + rng.randint(1, 40)]
        elif kind == 2:
            data[place:place] = data[place : place + rng.randint(1, 40)]
        else:
            data[place : place + 4] = rng.randbytes(4)
        if not data:
            return b""
    return bytes(data)


@pytest.mark.slow
@pytest.mark.parametrize("copies", matrix.part([10, 60], 10))
@pytest.mark.parametrize(
    "name", matrix.part(["record.json", "scores.parquet", "maps.npz"], "record.json")
)
def test_random_damage_ends_on_the_problems_page(
    sound: Path, tmp_path: Path, name: str, copies: int
) -> None:
    """Many damaged copies in one report: none of them ends it, sound runs are shown."""
    rng = random.Random(name)
    source = victim(sound)
    content = (source / name).read_bytes()
    sources = []
    for number in range(copies):
        place = tmp_path / str(number)
        shutil.copytree(source, place / "runs" / source.name)
        (place / "runs" / source.name / name).write_bytes(damaged(content, rng))
        sources.append(place)
    for place in sources:
        site = render.build([place], tmp_path / "site")
        if site.records == 0:
            assert site.problems
