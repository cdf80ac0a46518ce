"""What is kept of a fit in progress: how often, and what is made of damage."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.runner import resume

CHECKPOINT = resume.Checkpoint(
    changed={"weight": torch.arange(3.0)}, optimiser=None, curve=[], seconds=1.5, resumed=0
)


@given(
    share=st.floats(0.001, 0.5),
    size=st.integers(1, 10**10),
    epochs=st.lists(st.tuples(st.floats(0.01, 100), st.floats(0.1, 1)), max_size=50),
)
def test_checkpoints_take_no_more_than_their_share(
    share: float, size: int, epochs: list[tuple[float, float]]
) -> None:
    """Of all the time, where none takes longer than the one before it or, the first, the guess."""
    clock = SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resume, "time", clock)
        pace = resume.CheckpointSchedule(share, size)
        spent, cost = 0.0, size / 1e9
        for seconds, quicker in epochs:
            clock.now += seconds
            if pace.due:
                cost *= quicker
                spent += cost
                with pace.writing():
                    clock.now += cost
            assert spent <= share * clock.now * (1 + 1e-9)


def test_after_every_epoch_where_it_costs_nothing_and_rarely_where_it_is_dear(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)
    monkeypatch.setattr(resume, "time", clock)

    def kept(size: int, cost: float) -> list[int]:
        pace, found = resume.CheckpointSchedule(0.01, size), []
        for epoch in range(50):
            clock.now += 4
            if pace.due:
                found.append(epoch)
                with pace.writing():
                    clock.now += cost
        return found

    assert kept(300_000, 0.003) == list(range(50))
    # The guess of 0.3 s is 1 % of 30 s, so after 8 epochs; then two of 0.5 s are 1 % of 100 s
    # (25 epochs and 0.5 s), three of 150 s (38 epochs and 1 s), …
    assert kept(300_000_000, 0.5) == [7, 24, 37, 49]


def test_what_is_written_is_read_again_under_the_same_key_only(tmp_path: Path) -> None:
    resume.CheckpointStore(tmp_path, "key").save(CHECKPOINT)
    found = resume.CheckpointStore(tmp_path, "key").load()
    assert found is not None and found.seconds == 1.5
    assert torch.equal(found.changed["weight"], torch.arange(3.0))
    assert resume.CheckpointStore(tmp_path, "another").load() is None


def damaged(content: bytes, how: str) -> bytes:
    if how == "cut short":
        return content[:-100]
    return b"" if how == "empty" else b"no checkpoint at all" * 50


@pytest.mark.parametrize("how", ["cut short", "empty", "garbage"])
def test_a_damaged_checkpoint_counts_as_none(tmp_path: Path, how: str) -> None:
    """As a power cut may leave it, because nobody waits for the disk."""
    unfinished = resume.CheckpointStore(tmp_path, "key")
    unfinished.save(CHECKPOINT)
    (file,) = tmp_path.rglob("checkpoint.pt")
    file.write_bytes(damaged(file.read_bytes(), how))
    assert unfinished.load() is None
    assert unfinished.kept_epochs() == 0
