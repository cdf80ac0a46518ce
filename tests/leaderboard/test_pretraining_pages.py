"""Pages on pretraining: there for what is known, left out where they would hold dashes."""

import re
from pathlib import Path

import factory
import pytest

from bench.protocol.spec import PRETRAINING
from bench.records.record import SCORES_FILE, write
from leaderboard.build import render

FEW = {"seeds": (0,), "percents": (100,), "pretraining": False, "maps": False}
SCORES = "Scores on the pretraining datasets"


def site(home: Path, *methods: factory.Fake, scored: bool) -> Path:
    """These methods on the targets, and a foundation, which is scored on its datasets or not."""
    factory.populate(home, methods, **FEW)
    foundation = factory.make(home, None, PRETRAINING, maps=False)
    if not scored:
        folder = home / "foundations" / foundation.run_id
        write(foundation.model_copy(update={"evaluations": ()}), folder)
        (folder / SCORES_FILE).unlink()
    return render.build([home], home / "site").index.parent


def test_a_foundation_that_was_not_scored_has_no_empty_table(tmp_path: Path) -> None:
    """Full fine-tuning against training from scratch is known: it stays."""
    folder = site(tmp_path, factory.FFT, factory.BASELINE, scored=False)
    (page,) = folder.glob("*-pretrain.html")
    assert not page.name.endswith("-gallery-pretrain.html")
    text = page.read_text(encoding="utf-8")
    assert "fft against baseline" in text
    assert SCORES not in text and "<td>–</td>" not in text
    assert not list(folder.glob("*-gallery-pretrain.html"))


def test_a_page_with_nothing_to_say_is_left_out(tmp_path: Path) -> None:
    folder = site(tmp_path, factory.FFT, factory.LORA, scored=False)
    assert not list(folder.glob("*-pretrain.html"))
    assert "-pretrain.html" not in (folder / "index.html").read_text(encoding="utf-8")


def test_scores_of_the_foundation_fill_the_table(tmp_path: Path) -> None:
    """Each dataset's row has the MAE that the foundation's record has."""
    folder = site(tmp_path, factory.LORA, scored=True)
    (page,) = [p for p in folder.glob("*-pretrain.html") if "gallery" not in p.name]
    text = page.read_text(encoding="utf-8")
    assert SCORES in text
    record = factory.make(tmp_path / "again", None, PRETRAINING, maps=False)
    for cell in record.cells:
        row = re.search(rf'<th scope="row">{cell.test_set.dataset}</th>.*?value="([\d.]+)"', text)
        assert row and float(row[1]) == pytest.approx(cell.scores["mae"], rel=1e-4)
