"""The error explorer: its data against the score files, its page without and with a browser."""

import json
import re
from pathlib import Path

import factory
import numpy as np
import polars as pl
import pytest

from bench.protocol.spec import TARGETS
from leaderboard.build import render
from leaderboard.load import results
from leaderboard.tables import errors
from leaderboard.tables.assembly import gather


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    methods = (factory.FFT, factory.LORA)
    factory.populate(folder, methods, percents=(100,), pretraining=False)
    return folder


def plain(home: Path, method: str, train: str, test: str) -> np.ndarray:
    """MAE by sample in m/s, mean over seeds, from the files."""
    found = []
    for path in home.glob("runs/*/record.json"):
        spec = json.loads(path.read_text())["spec"]
        if spec["method"]["name"] == method and spec["datasets"] == [train]:
            rows = pl.read_parquet(path.parent / "scores.parquet").filter(pl.col("dataset") == test)
            found.append(rows.sort("sample")["mae"].to_numpy() * 1500)
    assert len(found) == 2
    return np.mean(found, axis=0)


def test_errors_are_those_of_the_files(home: Path) -> None:
    (board,) = gather(results.read([home]))
    found = errors.cells(board)
    assert [(c.train, c.test) for c in found[:2]] == [
        (TARGETS[0], TARGETS[0]),
        (TARGETS[0], TARGETS[1]),
    ]
    assert len(found) == 16
    names = {v.key: v.name for v in board.variants}
    for cell in found:
        assert {names[key] for key in cell.errors} == {"fft", "lora"}
        for key, values in cell.errors.items():
            expected = plain(home, names[key], cell.train, cell.test)
            np.testing.assert_allclose(values, expected, rtol=1e-5)
            assert cell.seeds[key] == 2


def test_the_page_lists_the_worst_samples_and_links_to_pictures(home: Path, tmp_path: Path) -> None:
    site = render.build([home], tmp_path / "site").index.parent
    (page,) = site.glob("*-explorer.html")
    text = page.read_text()
    expected = plain(home, "lora", TARGETS[0], TARGETS[0])
    listed = [int(s) for s in re.findall(r'<th scope="row">(\d+)</th>', text)]
    assert listed == np.argsort(-expected, kind="stable")[: len(listed)].tolist()
    data = json.loads(text.split('id="data">')[1].split("</script>")[0])
    links = {href for c in data["cells"] for m in c["maps"].values() for href in m.values()}
    assert links
    for href in links:
        file, _, anchor = href.partition("#")
        assert f'id="{anchor}"' in (site / file).read_text(), href
