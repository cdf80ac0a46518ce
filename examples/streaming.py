"""How fast samples stream from files into batches, beside plain reads of the same bytes.

    python examples/streaming.py [FOLDER]

It writes 512 samples of noise (0.4 GB as float16, 0.7 GB as float32) below the folder, by default
the system's temporary one, and removes them. The files are in the system's memory when they are
read; the processor's time is what to compare where other work runs on the machine.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from bench.data.layout import FilePair
from bench.data.loader import SampleLoader
from bench.data.reader import Samples
from bench.protocol import survey
from bench.training import allocator

FILES, IN_A_FILE, BATCH, ROUNDS = 4, 128, 16, 5
SAMPLES = FILES * IN_A_FILE


def write(folder: Path, kind: str) -> list[FilePair]:
    rng = np.random.default_rng(0)
    pairs = []
    for number in range(FILES):
        records, maps = f"records{number}.npy", f"maps{number}.npy"
        noise = rng.standard_normal((IN_A_FILE, *survey.RECORD_SHAPE), dtype=np.float32)
        np.save(folder / records, noise.astype(kind))
        velocity = rng.uniform(1500, 4500, (IN_A_FILE, 1, *survey.MAP_SHAPE))
        np.save(folder / maps, velocity.astype(np.float32))
        kinds = (np.dtype(kind).str,)
        pairs.append(FilePair(records=records, maps=maps, samples=IN_A_FILE, record_types=kinds))
    return pairs


def measure(work: Callable[[], None]) -> tuple[float, float]:
    """Samples a second, and milliseconds of the processor's time a sample: the best of some."""
    rates, costs = [], []
    for _ in range(ROUNDS):
        wall, processor = time.perf_counter(), time.process_time()
        work()
        rates.append(SAMPLES / (time.perf_counter() - wall))
        costs.append(1000 * (time.process_time() - processor) / SAMPLES)
    return max(rates), min(costs)


def compare(folder: Path, kind: str) -> None:
    pairs = write(folder, kind)
    samples = Samples(folder, pairs)
    loader = SampleLoader(
        [(samples, np.arange(SAMPLES))], device=torch.device("cpu"), resident=False
    )
    order = np.array_split(np.random.default_rng(0).permutation(SAMPLES), SAMPLES // BATCH)

    def stream() -> None:
        for _ in loader.batches(order):
            pass

    def read() -> None:
        buffer = bytearray(int(np.prod(survey.RECORD_SHAPE)) * np.dtype(kind).itemsize)
        for pair in pairs:
            with (folder / pair.records).open("rb", buffering=0) as file:
                for _ in range(IN_A_FILE):
                    file.readinto(buffer)

    rate, cost = measure(stream)
    most, least = measure(read)
    print(
        f"{kind}: streamed {rate:,.0f} samples/s, {cost:.2f} ms of the processor's time each, so "
        f"{2000 / cost:,.0f} a second on two cores that are free; plain reads {most:,.0f} "
        f"samples/s, {least:.2f} ms"
    )


def main() -> None:
    allocator.keep()  # as in training
    print(f"{torch.get_num_threads()} threads, batches of {BATCH}")
    for kind in ("float16", "float32"):
        with tempfile.TemporaryDirectory(dir=sys.argv[1] if sys.argv[1:] else None) as folder:
            compare(Path(folder), kind)


if __name__ == "__main__":
    main()
