"""Velocity maps → seismic records, with OpenFWI's forward operator."""

from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import torch
from torch import Tensor

from bench.protocol import survey


@cache
def ricker() -> Tensor:
    """The source wavelet, (TIME_STEPS + 1,) float32: 147 samples of Ricker 15 Hz, then zeros."""
    k = np.arange(survey.WAVELET_SAMPLES)
    phase = (survey.WAVELET_SAMPLES // 2 - k) * survey.PEAK_FREQUENCY_HZ * survey.STEP_SECONDS
    b = (np.pi * phase) ** 2
    wavelet = np.zeros(survey.TIME_STEPS + 1, dtype=np.float32)
    wavelet[: survey.WAVELET_SAMPLES] = (1 - 2 * b) * np.exp(-b)
    return torch.from_numpy(wavelet)


def simulate(velocity_mps: Tensor) -> Tensor:
    """Records of one or several velocity maps, on the device of the maps.

    A GPU takes all maps at once. On a CPU each map is one thread's work, on as many threads as
    torch uses: deepwave's own OpenMP threads meet at a barrier in every time step, which takes
    twice the processor time, and five times the time where other programs are at work.

    Parameters
    ----------
    velocity_mps
        (n, 70 z, 70 x), m/s, in [1500, 4500]; n at least 1.

    Returns
    -------
    Tensor
        (n, 5 shots, 1000 time steps, 70 receivers) float32 pressure; row i is the state after
        step i. A record is bit-identical whatever batch it is simulated in.
    """
    if velocity_mps.device.type != "cpu":
        return _propagate(velocity_mps)
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        return torch.cat(list(pool.map(_propagate, velocity_mps.split(1))))
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # a thread's setting is the default of later threads


def _propagate(velocity_mps: Tensor) -> Tensor:
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
            source_amplitudes=-ricker().to(device).expand(n * shots, 1, -1),
            source_locations=sources.repeat(n, 1, 1),
            receiver_locations=receivers.expand(n * shots, -1, -1),
            accuracy=survey.ACCURACY,
            pml_width=survey.PML_CELLS,
            pml_freq=survey.PML_FREQUENCY_HZ,
            max_vel=survey.PML_MAX_VELOCITY_MPS,
            courant_number=survey.COURANT_NUMBER,
        )
    # (n·shots, receivers, time) → (n, shots, time, receivers); row 0 is the state before step 0
    records: Tensor = traces[..., 1:].unflatten(0, (n, shots)).transpose(-1, -2)
    return records.contiguous()
