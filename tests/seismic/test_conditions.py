"""Conditions against the physics that they stand for."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bench.errors import UnknownNameError
from bench.protocol import conditions, survey
from bench.protocol.conditions import CONDITIONS
from bench.seismic import generators, simulation
from bench.seismic.conditions import disturb

Record = NDArray[np.float32]


@pytest.fixture(scope="module")
def velocity() -> torch.Tensor:
    return torch.from_numpy(generators.velocity_map("FlatVel_A", np.random.default_rng(1))[None])


@pytest.fixture(scope="module")
def record(velocity: torch.Tensor) -> Record:
    found: Record = simulation.simulate(velocity)[0].numpy()
    return found


def under(record: Record, name: str, seed: int = 0) -> Record:
    return disturb(record, conditions.get(name), np.random.default_rng(seed))


def mean_power(x: Record) -> float:
    return float(np.mean(x.astype(np.float64) ** 2))


@pytest.mark.parametrize("decibel", [20, 10, 0])
def test_noise_has_its_ratio_and_the_spectrum_of_the_source(record: Record, decibel: int) -> None:
    noise = under(record, f"noise_{decibel}db") - record
    ratio = mean_power(record) / mean_power(noise)
    assert 10 * np.log10(ratio) == pytest.approx(decibel, abs=0.05)
    spectrum = np.abs(np.fft.rfft(noise, axis=1)).mean(axis=(0, 2))
    wavelet = np.abs(np.fft.rfft(simulation.ricker().numpy()[:1000]))
    assert np.corrcoef(spectrum, wavelet)[0, 1] > 0.99
    neighbours = np.corrcoef(noise[0, :, 10], noise[0, :, 11])[0, 1]
    assert abs(neighbours) < 0.4


@pytest.mark.parametrize(("name", "count"), [("dead_10", 7), ("dead_30", 21)])
def test_dead_receivers_are_silent_in_every_shot(record: Record, name: str, count: int) -> None:
    found = under(record, name)
    silent = (found == 0).all(axis=(0, 1))
    assert silent.sum() == count
    np.testing.assert_array_equal(found[:, :, ~silent], record[:, :, ~silent])


def test_a_missing_shot_leaves_the_others(record: Record) -> None:
    found = under(record, "dead_shot")
    silent = (found == 0).all(axis=(1, 2))
    assert silent.sum() == 1
    np.testing.assert_array_equal(found[~silent], record[~silent])


def test_gain_is_a_factor(record: Record) -> None:
    np.testing.assert_array_equal(under(record, "gain_half"), record / 2)
    np.testing.assert_array_equal(under(record, "gain_double"), record * 2)


def test_statics_move_arrivals_by_ten_milliseconds(record: Record) -> None:
    found = under(record, "static_10ms")

    def first_break(x: Record) -> NDArray[np.int64]:
        loud = np.abs(x) > 0.05 * np.abs(x).max(axis=1, keepdims=True)
        return loud.argmax(axis=1)

    moved = (first_break(found) - first_break(record)) * survey.STEP_SECONDS
    assert set(np.round(moved, 6).ravel()) == {-0.01, 0.01}
    assert (moved == moved[:1]).all(), "a receiver's statics are those of every shot"


def test_displaced_receivers_hear_what_is_recorded_there(record: Record) -> None:
    found = under(record, "displaced_10m")
    np.testing.assert_array_equal(found[:, :, :-1], record[:, :, 1:])
    np.testing.assert_array_equal(found[:, :, -1], record[:, :, -1])


@pytest.mark.parametrize("peak", [10.0, 20.0])
def test_another_source_moves_the_spectrum_and_not_the_arrivals(
    velocity: torch.Tensor, record: Record, peak: float
) -> None:
    found: Record = simulation.simulate(velocity, peak_hz=peak)[0].numpy()
    assert found.shape == record.shape

    def centroid(x: Record) -> float:
        power = (np.abs(np.fft.rfft(x, axis=1)) ** 2).sum(axis=(0, 2))
        frequency = np.fft.rfftfreq(survey.TIME_STEPS, survey.STEP_SECONDS)
        return float((power * frequency).sum() / power.sum())

    assert centroid(found) / centroid(record) == pytest.approx(peak / 15, rel=0.1)
    peaks = [np.abs(x[0, :, 3]).argmax() for x in (found, record)]
    assert abs(int(peaks[0]) - int(peaks[1])) <= 12
    wavelet = simulation.ricker(peak)
    assert int(wavelet.argmax()) - simulation.lead(peak) == survey.WAVELET_SAMPLES // 2


def test_the_surveys_own_source_gives_the_same_bits(velocity: torch.Tensor, record: Record) -> None:
    again = simulation.simulate(velocity, peak_hz=survey.PEAK_FREQUENCY_HZ)[0].numpy()
    np.testing.assert_array_equal(again, record)


def test_a_condition_depends_on_its_seed_alone(record: Record) -> None:
    for condition in CONDITIONS:
        before = record.copy()
        first, again = (under(record, condition.name, seed=3) for _ in range(2))
        np.testing.assert_array_equal(first, again)
        np.testing.assert_array_equal(record, before)
        assert first.dtype == np.float32 and first.shape == record.shape
    with pytest.raises(UnknownNameError, match="noise_10db"):
        conditions.get("noise_11db")
