"""What storing records in half precision does to the scores of a trained network.

    python examples/half_precision.py RUN [SAMPLES]

RUN is a fit of the workspace, by its id. The true maps of its test sets are simulated again in
single precision, and its network is scored on these records and on the same rounded to half.
"""

import sys

import numpy as np
import torch
from torch import Tensor

from bench.api import load_run
from bench.data import examples
from bench.seismic import metrics, simulation
from bench.seismic.scaling import scale_maps, scale_records

run = load_run(sys.argv[1])
count = int(sys.argv[2]) if len(sys.argv) > 2 else 128
network = run.network().eval()
track = run.record.track
CPU = torch.device("cpu")


def scores(records: np.ndarray, truth: Tensor) -> dict[str, Tensor]:
    """Per-sample scores; the network sees scaled records in half precision in any case."""
    x = scale_records(torch.from_numpy(records.copy())).half().float()
    with torch.inference_mode():
        prediction = torch.cat([network(part) for part in x.split(16)])
    return {m.name: m.per_sample(prediction, truth) for m in metrics.METRICS}


print("test set        metric  largest change of a sample  change of the mean")
for dataset in dict.fromkeys(cell.test_set.dataset for cell in run.record.cells):
    _, (maps, _) = examples.simulate_samples(dataset, track, "test", count, device=CPU)
    exact = simulation.simulate(torch.from_numpy(maps)).numpy()
    truth = scale_maps(torch.from_numpy(maps)[:, None])
    single = scores(exact, truth)
    half = scores(exact.astype(np.float16).astype(np.float32), truth)
    for name in single:
        largest = float((half[name] - single[name]).abs().nan_to_num().max())
        mean = float(half[name].nanmean() - single[name].nanmean())
        print(f"{dataset:14s}  {name:6s}  {largest:26.1e}  {mean:18.1e}")
