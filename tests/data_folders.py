"""Tiny folders in the layout of the release, sound or with one fault."""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bench.data import layout
from bench.protocol import survey
from bench.protocol.spec import DATASETS, Data
from bench.seismic import simulation

TINY = Data(source="files", train=4, test=2, samples_per_file=2)
"""Three files of two samples, or with layer counts about two files each."""


MAPS = "model/model3.npy"
"""The last file of maps of FlatVel_A in such a folder."""


@cache
def samples() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Six maps (6, 1, 70, 70) of sloping layers, no two alike, and their records."""
    rng = np.random.default_rng(0)
    slope = np.arange(70)[:, None] + np.linspace(0, 12, 70)[None]
    maps = np.empty((6, 1, 70, 70), dtype=np.float32)
    for number in range(6):
        speeds = np.sort(rng.integers(1500, 4501, 5))
        maps[number, 0] = speeds[np.clip(slope / (14 + number), 0, 4).astype(int)]
    return maps, simulation.simulate(torch.from_numpy(maps[:, 0])).numpy()


def build(root: Path, dataset: str = "FlatVel_A", *, folder: str = "", data: Data = TINY) -> Path:
    """Write one sound dataset; `folder` is another spelling of its name. Returns its folder."""
    place = root / (folder or dataset)
    maps, records = samples()
    done = 0
    for pair in layout.all_files(dataset, data):
        here = slice(done, done + pair.samples)
        for name, array in ((pair.records, records[here]), (pair.maps, maps[here])):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            np.save(place / name, array)
        done += pair.samples
    return place


def track_file(folder: Path, data: Data) -> Path:
    path = folder / "tiny.toml"
    sizes = f"train = {data.train}\ntest = {data.test}\nsamples_per_file = {data.samples_per_file}"
    budgets = "[pretrain]\nepochs = 1\nbatch = 2\n[fit]\nepochs = 1\nbatch = 2"
    head = 'name = "tiny"\nversion = 1\nsummary = ""'
    path.write_text(f'{head}\n[data]\nsource = "{data.source}"\n{sizes}\n{budgets}\n')
    return path


def alter(path: Path, place: tuple[int, ...], value: float) -> None:
    """Change one number in a file, and nothing else."""
    array = np.load(path)
    array[place] = value
    np.save(path, array)


def build_sparse_release(root: Path) -> None:
    """All files of the release with their true sizes and headers, and nothing else in them."""
    shapes = {"records": survey.RECORD_SHAPE, "maps": (1, *survey.MAP_SHAPE)}
    for dataset in DATASETS:
        for pair in layout.all_files(dataset, Data(source="files")):
            for name, content in ((pair.records, "records"), (pair.maps, "maps")):
                path = root / dataset / name
                path.parent.mkdir(parents=True, exist_ok=True)
                shape = (pair.samples, *shapes[content])
                with path.open("wb") as file:
                    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_1_0(file, header)
                    file.truncate(file.tell() + 4 * int(np.prod(shape)))
