"""Velocity maps → seismic records, with OpenFWI's forward operator."""

from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial

import numpy as np
import torch
from torch import Tensor

from bench.protocol import survey


@cache
def ricker(peak_hz: float = survey.PEAK_FREQUENCY_HZ) -> Tensor:
    """The source wavelet, (TIME_STEPS + 1 + `lead(peak_hz)`,) float32: a Ricker, then zeros.

    It has OpenFWI's length of 2.2 periods (147 samples at 15 Hz), and its peak is at the time of
    that of 15 Hz, the lead apart: a lower frequency begins before the record does.
    """
    half = _half_length(peak_hz)
    k = np.arange(2 * half + 1)
    phase = (half - k) * peak_hz * survey.STEP_SECONDS
    b = (np.pi * phase) ** 2
    before, begin = lead(peak_hz), max(survey.WAVELET_SAMPLES // 2 - half, 0)
    wavelet = np.zeros(survey.TIME_STEPS + 1 + before, dtype=np.float32)
    wavelet[begin : begin + len(k)] = (1 - 2 * b) * np.exp(-b)
    return torch.from_numpy(wavelet)


def lead(peak_hz: float) -> int:
    """Time steps that are simulated before the record begins."""
    return max(_half_length(peak_hz) - survey.WAVELET_SAMPLES // 2, 0)


def _half_length(peak_hz: float) -> int:
    return int(2.2 / peak_hz / survey.STEP_SECONDS) // 2


def simulate(velocity_mps: Tensor, *, peak_hz: float | None = None) -> Tensor:
    """Records of one or several velocity maps, on the device of the maps.

    A GPU takes all maps at once. On a CPU each map is one thread's work, on as many threads as
    torch uses: deepwave's own OpenMP threads meet at a barrier in every time step, which takes
    twice the processor time, and five times the time where other programs are at work.

    Parameters
    ----------
    velocity_mps
        (n, 70 z, 70 x), m/s, in [1500, 4500]; n at least 1.
    peak_hz
        Peak frequency of the source, Hz; the survey's where it is None.

    Returns
    -------
    Tensor
        (n, 5 shots, 1000 time steps, 70 receivers) float32 pressure; row i is the state after
        step i. A record is bit-identical whatever batch it is simulated in.
    """
    frequency = survey.PEAK_FREQUENCY_HZ if peak_hz is None else peak_hz
    if velocity_mps.device.type != "cpu":
        return _propagate(velocity_mps, frequency)
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        one = partial(_propagate, peak_hz=frequency)
        return torch.cat(list(pool.map(one, velocity_mps.split(1))))
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # a thread's setting is the default of later threads


def _propagate(velocity_mps: Tensor, peak_hz: float) -> Tensor:
    """All maps as one batch of deepwave, on the device of the maps."""
    import deepwave  # takes a second to import, and most commands do not simulate

    n, device = velocity_mps.shape[0], velocity_mps.device
    shots = survey.SHOTS
    sources = torch.tensor([[[survey.SOURCE_ROW, x]] for x in survey.SOURCE_COLUMNS], device=device)
    receivers = torch.tensor(
        [[survey.RECEIVER_ROW, x] for x in range(survey.RECEIVERS)], device=device
    )
    with torch.no_grad():
        *_, traces = deepwave.scalar(
            velocity_mps.float().repeat_interleave(shots, dim=0),
            survey.CELL_METRES,
            survey.STEP_SECONDS,
            # deepwave adds −v²dt²·f; OpenFWI adds +v²dt²·w
            source_amplitudes=-ricker(peak_hz).to(device).expand(n * shots, 1, -1),
            source_locations=sources.repeat(n, 1, 1),
            receiver_locations=receivers.expand(n * shots, -1, -1),
            accuracy=survey.ACCURACY,
            pml_width=survey.PML_CELLS,
            pml_freq=survey.PML_FREQUENCY_HZ,
            max_vel=survey.PML_MAX_VELOCITY_MPS,
            courant_number=survey.COURANT_NUMBER,
        )
    # (n·shots, receivers, time) → (n, shots, time, receivers); row 0 is the state before step 0
    records: Tensor = traces[..., 1 + lead(peak_hz) :].unflatten(0, (n, shots)).transpose(-1, -2)
    return records.contiguous()
