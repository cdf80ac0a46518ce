"""Whole runs with and without kept activations: the same numbers, and the record says which."""

from pathlib import Path
from typing import Any

import homes
import pytest
from conftest import TINY_TRACK, Inside

from bench.data.loader import Datasets


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
