"""Equal tuning by the real command: chosen on validation data, used by `--tuned`."""

from pathlib import Path
from statistics import fmean
from typing import Any

import homes
import pytest
from conftest import Inside

from bench.protocol.protocols import LEARNING_RATE_FACTORS
from bench.protocol.spec import TARGETS

Ran = tuple[Path, Any]


@pytest.fixture
def home(ran: Ran, tmp_path: Path) -> Path:
    """A home with data and a foundation, to which a test may add fits."""
    source, _ = ran
    homes.copy(source, tmp_path, "data", "foundations", "runs")
    return tmp_path


@pytest.mark.exhaustive
def test_tuned_runs_use_the_factor_that_is_best_on_validation_data(
    home: Path, inside: Inside, tiny_track: Path
) -> None:
    words = ("run", "--method", "fft", "--track", tiny_track, "--quiet", "--protocol")
    assert inside(*words, "tuning", home=home)[0] == 0
    errors: dict[float, list[float]] = {}
    for record in homes.records(home, "fft").values():
        if record.spec.holdout:
            (cell,) = record.cells
            assert cell.test_set.split == "validation"
            factor = record.spec.method.config["learning_rate_scale"]
            errors.setdefault(factor, []).append(cell.scores["mae"])
    assert {factor: len(found) for factor, found in errors.items()} == dict.fromkeys(
        LEARNING_RATE_FACTORS, len(TARGETS)
    )
    best = min(errors, key=lambda factor: fmean(errors[factor]))
    before = homes.records(home).keys()
    assert inside(*words, "id", "--tuned", home=home)[0] == 0
    every = homes.records(home)
    new = [record for key, record in every.items() if key not in before]
    assert {record.spec.method.config["learning_rate_scale"] for record in new} <= {best}
    assert not any(record.spec.holdout for record in new)
    scored = {  # new or, where the default is the best, from before
        record.spec.datasets[0]
        for record in every.values()
        if record.spec.method.name == "fft" and not record.spec.holdout
        if record.spec.method.config["learning_rate_scale"] == best
        if any(cell.test_set.dataset == record.spec.datasets[0] for cell in record.cells)
    }
    assert scored == set(TARGETS)


def test_what_is_not_tuned_is_refused(home: Path, inside: Inside, tiny_track: Path) -> None:
    words = ("run", "--method", "lora", "--track", tiny_track, "--protocol", "id", "--tuned")
    code, _, error = inside(*words, home=home)
    assert code == 2
    assert "'lora' is not tuned yet; run `bench run --method lora --protocol tuning" in error
