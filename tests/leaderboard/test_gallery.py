"""Maps of several methods side by side: of the samples that they kept in common."""

import numpy as np
import pytest

from bench.records.maps import Kept
from leaderboard.pages import gallery


def kept(*samples: int, truth: int = 3000) -> Kept:
    maps = np.full((len(samples), 70, 70), truth, np.uint16)
    return Kept(np.array(samples, np.int32), maps, maps)


@pytest.mark.parametrize(
    ("others", "shown", "samples"),
    [
        ({}, {"fft"}, [0, 1, 2, 9]),
        ({"lora": kept(0, 1, 2, 7)}, {"fft", "lora"}, [0, 1, 2]),
        ({"bitfit": kept(5)}, {"fft"}, [0, 1, 2, 9]),  # published with its worst sample alone
        ({"bitfit": kept(1), "lora": kept(0, 1, 2)}, {"fft", "lora"}, [0, 1, 2]),
        ({"other": kept(0, 1, 2, 9, truth=2000)}, {"fft"}, [0, 1, 2, 9]),
    ],
)
def test_methods_that_kept_other_samples_or_maps_are_left_out(
    others: dict[str, Kept], shown: set[str], samples: list[int]
) -> None:
    found = gallery._shared({"fft": kept(0, 1, 2, 9)} | others, "fft")
    assert set(found) == shown
    assert found["fft"].samples.tolist() == samples


def test_two_methods_with_a_worst_sample_each_do_not_stand_side_by_side() -> None:
    assert set(gallery._shared({"fft": kept(3), "lora": kept(8)}, "fft")) == {"fft"}
    assert set(gallery._shared({"fft": kept(3), "lora": kept(3)}, "fft")) == {"fft", "lora"}
