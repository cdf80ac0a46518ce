"""Scoring: which maps and records are kept for the pictures."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.records.gathers import EVERY
from bench.seismic.gather import SHOT, gather
from bench.seismic.scaling import scale_records
from bench.training import evaluate, numerics


class Pool:
    """Samples whose true map is 0 and whose record says how wrong the network shall be."""

    def __init__(self, errors: list[float]) -> None:
        self.errors = errors
        times = torch.linspace(0, 60, 1000)[None, :, None].expand(5, 1000, 70)
        self.record = scale_records((times.sin() * torch.arange(1, 6)[:, None, None]).contiguous())

    def __len__(self) -> int:
        return len(self.errors)

    def batches(self, order: list[np.ndarray]) -> Iterator[tuple[Tensor, Tensor]]:
        for indices in order:
            x = self.record.repeat(len(indices), 1, 1, 1)
            x[:, 0, 0, 0] = torch.tensor([self.errors[i] for i in indices])
            yield x, torch.zeros(len(indices), 1, 70, 70)


class Wrong(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, :1, :1, :1].expand(-1, 1, 70, 70)


@pytest.mark.parametrize(
    ("worst", "expected"), [(1, [0, 1, 2]), (20, [0, 1, 2, 20]), (69, [0, 1, 2, 69])]
)
def test_the_first_maps_are_kept_and_the_worst_of_all(worst: int, expected: list[int]) -> None:
    errors = [0.1 + 0.001 * (i % 9) for i in range(70)]
    errors[40] = 0.4  # worse than all before, not the worst
    errors[worst] = 0.5
    pool = Pool(errors)
    scored = evaluate.score(Wrong(), pool, kept_maps=3, numerics=numerics.choose("cpu"))
    assert scored.kept.samples.tolist() == expected
    assert scored.scores["mae"] == pytest.approx(errors, rel=1e-4)
    for i, sample in enumerate(expected):
        assert (scored.kept.truth[i] == 3000).all()
        assert scored.kept.prediction[i].mean() == pytest.approx(
            3000 + 1500 * errors[sample], abs=0.6
        )
    assert scored.gathers.shape == (len(expected), 250, 70)


def test_no_map_is_kept_unless_asked_for() -> None:
    scored = evaluate.score(Wrong(), Pool([0.1] * 5), numerics=numerics.choose("cpu"))
    assert len(scored.kept.samples) == 0 and scored.gathers.shape == (0, 250, 70)


def test_a_gather_is_the_middle_shot_every_fourth_time_step_with_clipped_amplitudes() -> None:
    rng = np.random.default_rng(0)
    record = rng.normal(0, 3, (5, 1000, 70)).astype(np.float32)
    record[SHOT, 8, 5] = 1000.0
    traces = record[SHOT, ::EVERY]
    picture = gather(record)
    assert picture.shape == (250, 70) and SHOT == 2
    assert picture[2, 5] == 127
    clip = np.percentile(np.abs(traces), 95)
    inside = np.abs(traces) < clip
    np.testing.assert_allclose(picture[inside] / 127 * clip, traces[inside], atol=clip / 250)
    assert not gather(np.zeros((5, 1000, 70), dtype=np.float32)).any()
