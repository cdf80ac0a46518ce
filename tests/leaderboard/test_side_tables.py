"""Tables beside the scores: data misfit, and what choosing the epoch would flatter."""

from pathlib import Path

import factory
import numpy as np
import polars as pl
import pytest

from bench.protocol.spec import TARGETS
from bench.records import misfits
from bench.records.record import MISFIT_FILE, Record, write
from leaderboard.load import results
from leaderboard.tables import epoch_choice
from leaderboard.tables import misfits as misfit_table
from leaderboard.tables.assembly import gather
from leaderboard.tables.boards import Board


def board_of(home: Path) -> Board:
    (only,) = gather(results.read([home]))
    return only


def fits(home: Path) -> list[Record]:
    methods = (factory.FFT, factory.LORA)
    return factory.populate(home, methods, percents=(100,), pretraining=False, seeds=(0,))


def test_misfits_are_means_in_and_out_of_distribution(tmp_path: Path) -> None:
    values = {"fft": (0.2, 0.6), "lora": (0.3, 0.5)}
    for record in fits(tmp_path):
        folder = tmp_path / "runs" / record.run_id
        own, other = values[record.spec.method.name]
        rows = [
            (t, i, (own if t == record.spec.datasets[0] else other) + 0.1 * i, 0.25 * i, 30.0 * i)
            for t in TARGETS
            for i in (0, 1)
        ]
        columns = ["dataset", "sample", "relative_l2", "clamped", "excess_mps"]
        frame = pl.DataFrame(rows, schema=columns, orient="row").with_columns(
            version=pl.lit(1), maps=pl.lit(misfits.maps_sha256(folder))
        )
        misfits.write(folder, frame)
    lines, problems = misfit_table.table(board_of(tmp_path))
    assert problems == []
    assert [line.variant.name for line in lines] == ["lora", "fft"]  # best out of distribution
    for line in lines:
        own, other = values[line.variant.name]
        assert line.in_distribution == pytest.approx(own + 0.05)
        assert line.out_of_distribution == pytest.approx(other + 0.05)
        assert line.clamped == pytest.approx(0.125) and line.excess_mps == 30
        assert (line.seeds, line.samples) == (1, 2)
    (tmp_path / "runs" / record.run_id / MISFIT_FILE).write_bytes(b"PAR1 not one")
    lines, (problem,) = misfit_table.table(board_of(tmp_path))
    assert "Misfits cannot be read" in problem.reason
    assert len(lines) == 1  # a method without one of its cells has no mean


def test_what_the_best_epoch_would_flatter_is_last_minus_best(tmp_path: Path) -> None:
    gains = []
    for number, record in enumerate(fits(tmp_path)):
        if record.spec.method.name != "fft":
            continue
        errors = np.linspace(0.4, 0.2, len(record.curve))
        errors[-1] += 0.01 * (number + 1)
        gains.append(errors[-1] - errors.min())
        curve = tuple(
            epoch.model_copy(update={"test_mae": float(error)})
            for epoch, error in zip(record.curve, errors, strict=True)
        )
        write(record.model_copy(update={"curve": curve}), tmp_path / "runs" / record.run_id)
    (line,) = epoch_choice.table(board_of(tmp_path))
    assert line.variant.name == "fft" and line.fits == len(TARGETS)
    assert line.mean == pytest.approx(np.mean(gains)) and line.most == pytest.approx(max(gains))
