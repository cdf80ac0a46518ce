"""Tables that are written as text: nothing of a record gets into a page unescaped."""

from pathlib import Path
from statistics import median

import factory
import numpy as np
import polars as pl
from factory import TRACK

from leaderboard.load import results
from leaderboard.pages import long_tables, run_tables
from leaderboard.stats import comparisons
from leaderboard.stats.estimates import moments
from leaderboard.tables import memory
from leaderboard.tables.assembly import gather

EVIL = "<b>&\"'"


def test_nothing_of_a_record_is_taken_for_a_tag(tmp_path: Path) -> None:
    record = factory.make(tmp_path, factory.FFT, ("Style_A",))
    machine = record.execution.machine.model_copy(
        update={"processor": EVIL, "gpu": EVIL, "driver": EVIL, "system": EVIL}
    )
    determinism = record.execution.determinism.model_copy(update={"device": EVIL})
    execution = record.execution.model_copy(
        update={
            "machine": machine,
            "determinism": determinism,
            "versions": {EVIL: EVIL},
            "commit": EVIL,
        }
    )
    method = record.spec.method.model_copy(
        update={"name": EVIL, "distribution": EVIL, "config": {EVIL: EVIL}}
    )
    backbone = record.spec.backbone.model_copy(update={"name": EVIL, "distribution": EVIL})
    spec = record.spec.model_copy(
        update={"method": method, "backbone": backbone, "fingerprint": EVIL, "datasets": (EVIL,)}
    )
    release = record.method_release.model_copy(update={"code": EVIL, "distribution_version": EVIL})
    hostile = record.model_copy(
        update={
            "spec": spec,
            "method_release": release,
            "execution": execution,
            "facts": {EVIL: EVIL},
            "foundation_sha256": EVIL,
        }
    )
    page = run_tables.provenance(hostile)
    assert EVIL not in page and "<b>" not in page
    # name, distribution, release, code; key, value; name, distribution; fact twice; dataset,
    # fingerprint, foundation; processor, gpu, driver, system; device; version twice; commit
    assert page.count("&lt;b&gt;") == 21


def test_rows_of_runs_and_cells_are_escaped() -> None:
    run = dict.fromkeys(("title", "method", "train", "level"), EVIL) | {
        "run_id": "0" * 16,
        "status": "not_finished",
        "origin": "local",
        "started": "2026-01-01",
        "holdout": True,
        "percent": 10,
        "seed": 3,
        "mae": None,
        "ssim": None,
        "train_seconds": None,
    }
    row = long_tables.runs([run])
    assert "<b>" not in row and row.count("&lt;b&gt;") == 6
    assert ">not finished<" in row and "validation" in row and "data-mae" not in row
    cell = {"run_id": "f" * 16, "train": EVIL, "percent": 10, "seed": 3, "dataset": EVIL}
    cell |= {"condition": EVIL, "mae": 0.1, "rmse": 0.2, "ssim": None, "edge": 0.5}
    rows = long_tables.cells([[cell, cell | {"condition": "clean"}]])
    assert "<b>" not in rows and rows.count("&lt;b&gt;") == 4
    assert rows.count("<tr>") == 2 and rows.count('rowspan="2"') == 4
    assert rows.count("fff.html") == 1


def test_a_difference_says_which_side_it_favours() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1e-3, (2, 4, 50))
    far = moments(np.array([0.1, 0.2])[:, None, None] + noise, np.zeros(50, np.intp))
    pairs = comparisons.all_pairs(far, better="lower")
    better, worse = (long_tables.difference(pairs[p]) for p in ((0, 1), (1, 0)))
    assert 'class="up"' in better and ">−0.0999<" in better
    assert 'class="down"' in worse and ">+0.0999<" in worse
    assert "corrected" not in better  # one pair is a family of one
    assert "p &lt; 0.001</span>" in long_tables.difference(pairs[0, 1], interval=True)
    assert long_tables.difference(None) == '<td class="soft">–</td>'


def test_memory_is_the_median_over_fits_on_all_of_a_target(tmp_path: Path) -> None:
    factory.populate(tmp_path, (factory.FFT, factory.LORA), seeds=(0, 1, 2), maps=False)
    (board,) = gather(results.read([tmp_path]))
    found = memory.table(board)
    assert set(found) == {v.key for v in board.variants}
    for key, step in found.items():
        own = board.tested.filter(
            pl.col("variant") == key,
            pl.col("percent") == 100,
            pl.col("train").is_in(["FlatVel_B", "CurveFault_B", "Style_A", "Style_B"]),
        )
        assert own.height == 12
        batch = TRACK.fit.batch
        expected = 4 * (
            median(own["total_parameters"].to_list())
            + median(own["trainable_parameters"].to_list())
        ) + median(own["optimiser_bytes"].to_list())
        saved = median(own["saved_bytes_per_sample"].to_list())
        assert step.total(batch) == expected + batch * saved
        assert step.measured is None  # these are peaks of a CPU
