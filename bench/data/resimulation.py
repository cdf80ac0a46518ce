"""Records of a test split simulated anew from its true maps, under another source."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from bench.data.generate import (
    BYTES_PER_SAMPLE,
    NewFile,
    check_space,
    remove_parts,
    simulation_batch,
)
from bench.data.layout import FilePair
from bench.data.reader import Samples
from bench.protocol.conditions import Condition
from bench.seismic import simulation


def pairs_in(folder: Path, pairs: Sequence[FilePair]) -> tuple[FilePair, ...]:
    """The same files with the records of `folder`, which has the names of the clean ones."""
    return tuple(
        replace(
            pair,
            records=str(folder.absolute() / pair.records),
            records_part=None,
            record_types=("<f2", "<f4"),
        )
        for pair in pairs
    )


def missing(folder: Path, pairs: Sequence[FilePair]) -> int:
    """Number of records that have yet to be simulated."""
    return sum(pair.samples for pair in pairs if not (folder / pair.records).exists())


def make(
    folder: Path,
    clean: Samples,
    pairs: Sequence[FilePair],
    condition: Condition,
    *,
    device: torch.device,
    advance: Callable[[int], None],
) -> None:
    """Simulate what is missing of a test split below `folder`; a file appears when it is whole.

    `clean` is the split with its maps. Raises `HomeError` where the files cannot be written.
    """
    check_space(folder, missing(folder, pairs) * BYTES_PER_SAMPLE)
    remove_parts(folder)
    first = 0
    for pair in pairs:
        path = folder / pair.records
        if not path.exists():
            with NewFile(path, "records", pair.samples) as file:
                numbers = np.arange(first, first + pair.samples)
                parts = -(-pair.samples // simulation_batch(device))
                for part in np.array_split(numbers, parts):
                    velocity = torch.from_numpy(clean.maps(part)[:, 0]).to(device)
                    records = simulation.simulate(velocity, peak_hz=condition.source_hz)
                    file.append(records.cpu().numpy())
                    advance(len(part))
                file.close()
                file.rename()
        first += pair.samples
