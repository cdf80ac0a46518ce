"""`bench run --test-curve`: a curiosity that changes no number."""

from pathlib import Path
from typing import Any

import homes
import pytest
from conftest import Inside

Ran = tuple[Path, Any]


@pytest.mark.exhaustive
def test_the_curve_ends_at_the_score_and_training_is_bit_equal(
    ran: Ran, inside: Inside, tiny_track: Path, tmp_path: Path
) -> None:
    source, _ = ran
    homes.copy(source, tmp_path, "data", "foundations", "runs")
    homes.remove_runs(tmp_path, "Style_A", "FlatVel_B")
    words = ("run", "--method", "lora", "--track", tiny_track, "--quiet", "--protocol")
    assert inside(*words, "ood", "--test-curve", home=tmp_path)[0] == 0
    homes.assert_same(tmp_path, source, "lora")
    assert inside(*words, "id", home=tmp_path)[0] == 0  # scores the own test sets
    curious = 0
    for record in homes.records(tmp_path, "lora").values():
        errors = [epoch.test_mae for epoch in record.curve]
        if record.spec.datasets[0] in ("Style_A", "FlatVel_B"):
            curious += 1
            (own,) = (
                cell.scores["mae"]
                for cell in record.cells
                if cell.test_set.dataset == record.spec.datasets[0]
            )
            # LoRA freezes BatchNorm: the network after the last epoch is the one that is scored
            assert errors[-1] == pytest.approx(own, rel=1e-5)
            assert len(set(errors)) == len(errors)
        else:
            assert errors == [None] * len(errors)
    assert curious == 2
