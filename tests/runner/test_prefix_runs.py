"""Whole runs with and without kept activations: the same numbers, and the record says which."""

from pathlib import Path
from typing import Any

import homes
import pytest
from conftest import TINY_TRACK, Inside

from bench.data.loader import Datasets
from bench.runner import networks
from bench.training.scoring_prefix import ScoringPrefix


@pytest.mark.exhaustive
def test_runs_that_keep_activations_give_the_same_numbers_and_say_so(
    ran: tuple[Path, Any], inside: Inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`head` keeps what enters `deconv6`: 8 × 80 × 80 numbers of each of four samples."""
    track = tmp_path / "tiny.toml"
    track.write_text(TINY_TRACK.replace("epochs = 2\nbatch = 4", "epochs = 5\nbatch = 2"))
    kept, plain = tmp_path / "kept", tmp_path / "plain"
    homes.copy(ran[0], kept, "data")
    words = ("run", "--method", "head,fft", "--track", track, "--protocol", "id", "--quiet")
    assert inside(*words, "--test-curve", home=kept)[0] == 0
    homes.copy(kept, plain, "data", "foundations")
    with monkeypatch.context() as patch:
        patch.setattr(Datasets, "activation_limit", 0)
        assert inside(*words, "--test-curve", home=plain)[0] == 0
    homes.assert_same(kept, plain, "head", "fft")
    for home, expected in ((kept, 4 * 8 * 80 * 80), (plain, None)):
        for record in homes.records(home, "head").values():
            assert record.cost is not None
            numbers = record.cost.prefix_bytes
            itemsize = 2 if record.execution.determinism.precision == "bfloat16" else 4
            assert numbers == (None if expected is None else expected * itemsize)
        for record in homes.records(home, "fft").values():
            assert record.cost is not None and record.cost.prefix_bytes is None
    ours, theirs = homes.records(kept, "head"), homes.records(plain, "head")
    for run_id, record in ours.items():
        other = theirs[run_id]
        assert [e.test_mae for e in record.curve] == [e.test_mae for e in other.curve]


@pytest.mark.exhaustive
def test_fits_of_one_foundation_share_what_they_score(
    ran: tuple[Path, Any],
    inside: Inside,
    tiny_track: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Four fits of `head` on four test sets: what the first has had, the others begin at."""
    shared, alone = tmp_path / "shared", tmp_path / "alone"
    for home in (shared, alone):
        homes.copy(ran[0], home, "data", "foundations")
    words = ("run", "--method", "head", "--track", tiny_track, "--protocol", "ood", "--quiet")
    prefixes: list[ScoringPrefix] = []
    make = networks.scoring_prefix

    def noted(*inputs: Any) -> ScoringPrefix | None:
        prefix = make(*inputs)
        if prefix is not None:
            prefixes.append(prefix)
        return prefix

    with monkeypatch.context() as patch:
        patch.setattr(networks, "scoring_prefix", noted)
        assert inside(*words, home=shared)[0] == 0
    with monkeypatch.context() as patch:
        patch.setattr(Datasets, "activation_limit", 0)
        assert inside(*words, home=alone)[0] == 0
    reused = [prefix.samples_reused for prefix in prefixes if prefix.trusted]
    assert len(reused) >= 3 and all(reused), "all fits but the first"
    homes.assert_same(shared, alone, "head", "none")
