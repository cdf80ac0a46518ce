"""Effects of conditions on records: noise, dead traces, gain, statics, displaced receivers."""

import numpy as np
from numpy.typing import NDArray

from bench.protocol import survey
from bench.protocol.conditions import Condition

Records = NDArray[np.float32]


def disturb(record: Records, condition: Condition, rng: np.random.Generator) -> Records:
    """Apply a condition to one record (5 shots, 1000 time steps, 70 receivers); a new array.

    A record that is simulated anew (`Condition.resimulated`) is returned as it is.
    """
    out = record.copy()
    if condition.noise_db is not None:
        out += _noise(record, condition.noise_db, rng)
    if condition.dead_receivers:
        out[:, :, rng.choice(survey.RECEIVERS, condition.dead_receivers, replace=False)] = 0.0
    if condition.dead_shots:
        out[rng.choice(survey.SHOTS, condition.dead_shots, replace=False)] = 0.0
    if condition.gain != 1.0:
        out *= np.float32(condition.gain)
    if condition.static_seconds:
        out = _statics(record, round(condition.static_seconds / survey.STEP_SECONDS), rng)
    if condition.displaced_cells:
        where = np.arange(survey.RECEIVERS) + condition.displaced_cells
        # Receivers stand on every cell; the last ones have nowhere to go
        out = record[:, :, np.minimum(where, survey.RECEIVERS - 1)]
    return out


def _noise(record: Records, snr_db: float, rng: np.random.Generator) -> Records:
    """Gaussian noise with the amplitude spectrum of the source, independent from trace to trace.

    Its power, over all traces and times, is that of the record divided by the ratio in dB.
    """
    white = rng.standard_normal(record.shape, dtype=np.float32)
    frequency = np.fft.rfftfreq(survey.TIME_STEPS, survey.STEP_SECONDS)
    relative = (frequency / survey.PEAK_FREQUENCY_HZ) ** 2
    ricker = (relative * np.exp(1 - relative)).astype(np.float32)
    shaped = np.fft.irfft(
        np.fft.rfft(white, axis=1) * ricker[None, :, None], n=survey.TIME_STEPS, axis=1
    )
    signal = np.mean(record.astype(np.float64) ** 2)
    power = signal / 10 ** (snr_db / 10)
    scaled: Records = (shaped * np.sqrt(power / np.mean(shaped**2))).astype(np.float32)
    return scaled


def _statics(record: Records, steps: int, rng: np.random.Generator) -> Records:
    """Each receiver's traces too early or too late by `steps`, in all shots alike.

    Zeros come in where a trace ends.
    """
    out = np.zeros_like(record)
    late = rng.random(survey.RECEIVERS) < 0.5
    out[:, steps:, late] = record[:, :-steps, late]
    out[:, :-steps, ~late] = record[:, steps:, ~late]
    return out
