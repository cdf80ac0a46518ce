"""The table that protocol `pretrain` ends with, against gains worked out from the records."""

import re
from pathlib import Path

import pytest
from factory import BASELINE, FFT, make, populate

from bench.cli.tables import results
from bench.protocol.spec import PRETRAINING


def test_the_gain_of_the_foundation_is_told_for_each_dataset(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The paper's Fig. 2: means over the seeds that both have; other fits do not count."""
    records = populate(tmp_path, (BASELINE, FFT), seeds=(0, 1), percents=(100,), maps=False)
    alone = make(tmp_path, BASELINE, ("FlatVel_A",), seed=7, maps=False)
    results.show([*records, alone])
    printed = capsys.readouterr().out
    assert "Gain of the foundation over baseline (the paper's Fig. 2)" in printed
    assert "over fft" not in printed
    printed = printed[printed.index("Gain of the foundation") :].replace("−", "-")
    rows = {line.split()[1]: line for line in printed.splitlines() if "%" in line}
    assert list(rows) == list(PRETRAINING)
    for dataset, line in rows.items():
        numbers = [float(text) for text in re.findall(r"[-+]?\d+\.\d+", line)]
        expected = []
        for score, sign in (("mae", -1), ("rmse", -1), ("ssim", 1), ("edge", 1)):
            ours, theirs = (
                sum(
                    (cell.scores[score] or 0) / 2
                    for record in records
                    if record.spec.method.name == name and set(record.spec.datasets) & {*datasets}
                    for cell in record.cells
                    if cell.test_set.dataset == dataset
                )
                for name, datasets in (("foundation", PRETRAINING), ("baseline", (dataset,)))
            )
            expected += [ours, theirs, 100 * sign * (ours - theirs) / theirs]
        assert numbers == pytest.approx(expected, abs=0.06)
        assert numbers[:2] == pytest.approx(expected[:2], abs=6e-5)


def test_without_a_foundation_there_is_nothing_to_tell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results.show([make(tmp_path, BASELINE, ("FlatVel_A",), maps=False)])
    assert "Gain of the foundation" not in capsys.readouterr().out


def test_other_targets_and_pretraining_datasets_are_not_averaged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (record,) = populate(
        tmp_path,
        (FFT,),
        seeds=(0,),
        percents=(100,),
        targets=("Style_A",),
        pretraining=False,
        maps=False,
    )
    known = record.cells[0]
    kept = tuple(
        known.model_copy(
            update={
                "test_set": known.test_set.model_copy(update={"dataset": dataset}),
                "scores": known.scores | {"mae": mae},
            }
        )
        for dataset, mae in (("Style_A", 0.1), ("Style_B", 0.25), ("FlatVel_A", 0.5))
    )
    evaluation = record.evaluations[0].model_copy(update={"cells": kept})
    results.show([record.model_copy(update={"evaluations": (evaluation,)})])
    row = next(line for line in capsys.readouterr().out.splitlines() if "fft" in line)
    numbers = [word for word in row.split() if word.startswith("0.")]
    assert numbers[0] == "0.1000" and numbers[2] == "0.2500" and numbers[4] == "0.5000"
