"""Errors by sample are the means over seeds of what the score files hold."""

import json
from pathlib import Path

import factory
import polars as pl
import pytest

from leaderboard.load import results
from leaderboard.tables import boards, errors


def test_errors_are_those_of_the_score_files(tmp_path: Path) -> None:
    factory.populate(
        tmp_path, (factory.FFT, factory.LORA), percents=(100,), pretraining=False, maps=False
    )
    (board,) = boards.gather(results.read([tmp_path]))
    methods, samples = errors.of_cell(board, "FlatVel_B", "Style_A")
    assert [m.name for m in methods] == ["fft", "lora"] and len(samples) == factory.SAMPLES
    frames = []
    for path in tmp_path.rglob("record.json"):
        spec = json.loads(path.read_text())["spec"]
        if spec["method"]["name"] == "lora" and spec["datasets"] == ["FlatVel_B"]:
            frames.append(pl.read_parquet(path.parent / "scores.parquet"))
    lora = next(m for m in methods if m.name == "lora")
    expected = pl.concat(frames).filter(pl.col("dataset") == "Style_A")
    assert len(frames) == 2
    for line in samples:
        known = expected.filter(pl.col("sample") == line.sample)["mae"].cast(pl.Float64).mean()
        assert line.mae[lora.key] == pytest.approx(known, rel=1e-6)
    assert [s.mean for s in samples] == sorted((s.mean for s in samples), reverse=True)
    assert errors.of_cell(board, "Style_A", "FlatVel_A") == ([], [])
