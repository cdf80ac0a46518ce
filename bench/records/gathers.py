"""Seismic gathers of the samples whose maps are kept, stored once for all runs.

A folder of small ``npz`` files beside the runs' own folders. Each file is named by a hash of the
true map (m/s, uint16) and holds one array `gather`, see `bench.seismic.gather`.
"""

import hashlib
import io
import zlib
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from bench.atomic import write_atomically
from bench.protocol import survey

FOLDER = "gathers"
EVERY = 4
"""Time steps from one stored sample to the next: 125 Hz is still told apart."""
SHAPE = (survey.TIME_STEPS // EVERY, survey.RECEIVERS)
"""Times and receivers of a gather."""


def key(truth: NDArray[np.uint16]) -> str:
    """Name of the gather that belongs to a true map (70, 70), m/s."""
    return hashlib.sha256(np.ascontiguousarray(truth, dtype="<u2").tobytes()).hexdigest()[:16]


def path(run: Path, truth: NDArray[np.uint16]) -> Path:
    """Where the gather of a true map lies, for the run in this folder and its neighbours."""
    return run.parent / FOLDER / f"{key(truth)}.npz"


def write(run: Path, truth: NDArray[np.uint16], gather: NDArray[np.int8]) -> None:
    """Write the gather of a true map unless it is there. Raises `HomeError`."""
    target = path(run, truth)
    if not target.exists():
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, gather=gather)
        write_atomically(target, buffer.getvalue(), temporary=run)


def read(file: Path) -> NDArray[np.int8]:
    """The gather (250 times, 70 receivers) in a file. Raises ValueError for a bad one."""
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
            found: NDArray[np.int8] = arrays["gather"]
    except (OSError, BadZipFile, KeyError, EOFError, zlib.error) as error:
        raise ValueError(f"The gather cannot be read: {error}.") from error
    if found.shape != SHAPE or found.dtype != np.int8:
        raise ValueError(f"The gather is {found.dtype} {found.shape}, not int8 {SHAPE}.")
    return found
