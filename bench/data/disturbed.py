"""Test samples whose records are changed as they are read."""

import numpy as np
from numpy.typing import NDArray

from bench.data.reader import Samples
from bench.data.subsets import Indices
from bench.protocol.conditions import Condition
from bench.seeds import derive
from bench.seismic.conditions import disturb


class DisturbedSamples:
    """A test split under a condition that changes its records.

    Stands for `Samples`; a record depends on (condition, dataset, sample) alone.
    """

    def __init__(self, clean: Samples, dataset: str, condition: Condition) -> None:
        self._clean, self._dataset, self._condition = clean, dataset, condition

    def __len__(self) -> int:
        return len(self._clean)

    def records(self, indices: Indices, *, native: bool = False) -> NDArray[np.floating]:
        """(k, 5, 1000, 70) float32 pressures, whatever the files have."""
        found = self._clean.records(indices)
        for place, sample in enumerate(indices.tolist()):
            seed = derive(0, "condition", self._condition.name, self._dataset, sample)
            rng = np.random.default_rng(seed)
            found[place] = disturb(found[place], self._condition, rng)
        return found

    def maps(self, indices: Indices) -> NDArray[np.float32]:
        """(k, 1, 70, 70) m/s, as they are."""
        return self._clean.maps(indices)
