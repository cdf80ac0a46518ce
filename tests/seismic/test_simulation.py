"""The forward operator against a real record, physical laws and an independent scheme."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bench.protocol import survey
from bench.protocol.spec import DATASETS
from bench.seismic import generators, simulation

Array = NDArray[np.float64]

PUBLISHED_RANGES = {
    "FlatVel_A": (-26.94, 52.77),
    "FlatVel_B": (-27.17, 56.04),
    "CurveVel_A": (-27.11, 55.07),
    "CurveVel_B": (-29.03, 57.02),
    "FlatFault_A": (-26.09, 50.86),
    "FlatFault_B": (-24.67, 50.22),
    "CurveFault_A": (-26.48, 52.31),
    "CurveFault_B": (-26.75, 54.23),
    "Style_A": (-24.96, 48.93),
    "Style_B": (-23.75, 46.01),
}
"""Least and greatest pressure of all records of the real datasets."""


def constant(velocity_mps: float) -> torch.Tensor:
    return torch.full((1, *survey.MAP_SHAPE), velocity_mps)


def wavelet() -> Array:
    """Ricker of 15 Hz, 147 samples of 1 ms, its peak at index 73; written from its formula."""
    seconds = (np.arange(147) - 73) * 1e-3
    b = (np.pi * 15 * seconds) ** 2
    return np.concatenate([(1 - 2 * b) * np.exp(-b), np.zeros(1000)])


def finite_differences(velocity: Array, shot: int, *, steps: int, margin: int) -> Array:
    """(steps, 70) pressures in float64: 2nd order in time, 4th in space, on a larger domain.

    The map is continued by its edge values for `margin` cells, so far that nothing from the rim
    can reach a receiver in time.
    """
    v = np.pad(velocity, margin, mode="edge")
    courant = (v * 1e-3 / 10) ** 2
    past, now = np.zeros_like(v), np.zeros_like(v)
    row, column = margin + 1, margin + (0, 17, 34, 52, 69)[shot]
    source = (v[row, column] * 1e-3) ** 2 * wavelet()
    traces = np.empty((steps, 70))
    for step in range(steps):
        laplacian = np.zeros_like(v)
        inner = laplacian[2:-2, 2:-2]
        inner -= 5 * now[2:-2, 2:-2]
        inner += 4 / 3 * (now[1:-3, 2:-2] + now[3:-1, 2:-2] + now[2:-2, 1:-3] + now[2:-2, 3:-1])
        inner -= (now[:-4, 2:-2] + now[4:, 2:-2] + now[2:-2, :-4] + now[2:-2, 4:]) / 12
        past, now = now, 2 * now - past + courant * laplacian
        now[row, column] += source[step]
        traces[step] = now[row, margin : margin + 70]
    return traces


def relative_l2(got: NDArray[np.floating], expected: NDArray[np.floating]) -> float:
    return float(np.linalg.norm(got - expected) / np.linalg.norm(expected))


@pytest.fixture(scope="module")
def faulted() -> NDArray[np.float32]:
    return generators.velocity_map("CurveFault_B", np.random.default_rng(3), layers=7)


def test_reproduces_the_real_record(openfwi_samples: Path) -> None:
    with np.load(openfwi_samples / "real_record.npz") as real:
        seis, velocity = real["seis"], real["vel_inverted"]
    got = simulation.simulate(torch.from_numpy(velocity)[None]).numpy()[0]
    assert got.shape == seis.shape == (5, 1000, 70)
    assert relative_l2(got, seis) <= 2e-3


def test_direct_wave_runs_at_the_medium_s_speed() -> None:
    for velocity in (1500.0, 2400.0, 4200.0):
        shot = simulation.simulate(constant(velocity))[0, 0].double().numpy()
        near, far = shot[:, 20], shot[:, 60]  # 200 and 600 m from the source
        lag = int(np.correlate(far, near, mode="full").argmax()) - (len(near) - 1)
        # the grid of 10 m slows 1500 m/s by half a per cent
        assert lag == pytest.approx(400 / velocity * 1000, rel=0.01, abs=1.0)
        quiet = int((550 / velocity) * 1000) - 20
        assert np.abs(shot[:quiet, 55:]).max() < 1e-3 * np.abs(shot[:, 55:]).max(), "too early"


def test_source_and_receiver_may_change_places(faulted: NDArray[np.float32]) -> None:
    record = simulation.simulate(torch.from_numpy(faulted)[None])[0].double().numpy()
    columns = survey.SOURCE_COLUMNS
    for i in range(5):
        for j in range(i):
            there, back = record[i, :, columns[j]], record[j, :, columns[i]]
            assert relative_l2(there, back) < 1e-4


@pytest.mark.parametrize(("velocity", "steps"), [(2000.0, 1000), (4500.0, 600)])
def test_edges_reflect_less_than_a_thousandth(velocity: float, steps: int) -> None:
    margin = int(velocity * steps * 1e-3 / 2 / 10) + 10
    unbounded = finite_differences(np.full((70, 70), velocity), 2, steps=steps, margin=margin)
    got = simulation.simulate(constant(velocity))[0, 2, :steps].numpy()
    direct = np.abs(unbounded).max(axis=0)
    assert (np.abs(got - unbounded).max(axis=0) < 1e-3 * direct).all()


def test_agrees_with_finite_differences_in_double_precision(faulted: NDArray[np.float32]) -> None:
    got = simulation.simulate(torch.from_numpy(faulted)[None])[0].numpy()
    for shot in (1, 3, 4):
        expected = finite_differences(faulted.astype(np.float64), shot, steps=450, margin=110)
        assert relative_l2(got[shot, :450], expected) < 5e-4


def test_a_record_is_the_same_in_every_batch_and_on_any_number_of_threads() -> None:
    rng = np.random.default_rng(0)
    velocity = torch.from_numpy(
        np.stack(
            [generators.velocity_map(name, rng) for name in ("FlatVel_B", "Style_A", "Style_B")]
        )
    )
    threads = torch.get_num_threads()
    together = simulation.simulate(velocity)
    assert torch.get_num_threads() == threads
    for number in range(3):
        assert torch.equal(simulation.simulate(velocity[number : number + 1])[0], together[number])
    assert torch.equal(simulation.simulate(velocity.flip(0)).flip(0), together)
    try:
        torch.set_num_threads(3)
        assert torch.equal(simulation.simulate(velocity), together)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU on this machine")
def test_gpu_gives_the_records_of_the_cpu(faulted: NDArray[np.float32]) -> None:
    velocity = torch.from_numpy(faulted)[None]
    on_gpu = simulation.simulate(velocity.cuda()).cpu().numpy()
    assert relative_l2(on_gpu, simulation.simulate(velocity).numpy()) < 1e-4


@pytest.mark.parametrize("dataset", DATASETS)
def test_generated_records_span_the_range_of_the_real_ones(dataset: str) -> None:
    """Three maps come near the extremes of tens of thousands, and hardly go beyond."""
    layers = {"A": (2, 3, 4), "B": (6, 7, 8)}[dataset[-1]] if "Fault" in dataset else (None,) * 3
    rng = np.random.default_rng(0)
    velocity = np.stack([generators.velocity_map(dataset, rng, layers=count) for count in layers])
    records = simulation.simulate(torch.from_numpy(velocity))
    low, high = PUBLISHED_RANGES[dataset]
    assert 0.7 * high < float(records.max()) < 1.12 * high
    assert 1.12 * low < float(records.min()) < 0.7 * low
