"""The picture of a seismic record: the gather of the middle shot, small enough to be stored."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.protocol import survey
from bench.records.gathers import EVERY

SHOT: Final = survey.SHOTS // 2
SOURCE_METRES: Final = survey.SOURCE_COLUMNS[SHOT] * survey.CELL_METRES
"""Lateral place of that shot."""
_PERCENTILE = 95.0
"""Of the amplitudes: what is larger is clipped, or nothing but the direct wave would be seen."""


def gather(record: NDArray[np.float32]) -> NDArray[np.int8]:
    """(250 times, 70 receivers) from −127 to 127 of one record (5 shots, 1000, 70)."""
    traces = record[SHOT, ::EVERY].astype(np.float64)
    clip = np.percentile(np.abs(traces), _PERCENTILE) or 1.0
    picture: NDArray[np.int8] = np.round(np.clip(traces / clip, -1, 1) * 127).astype(np.int8)
    return picture
