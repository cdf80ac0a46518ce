"""OpenFWI's acquisition geometry, forward operator and units, as plain constants.

Source: Deng et al. 2022 (arXiv:2111.02926), settled against a real record: with these settings
the operator reproduces it to a relative L2 of 1.5e-3.
"""

from typing import Final

SHOTS: Final = 5
TIME_STEPS: Final = 1000
RECEIVERS: Final = 70
DEPTH_CELLS: Final = 70
WIDTH_CELLS: Final = 70
RECORD_SHAPE: Final = (SHOTS, TIME_STEPS, RECEIVERS)
MAP_SHAPE: Final = (DEPTH_CELLS, WIDTH_CELLS)

CELL_METRES: Final = 10.0
STEP_SECONDS: Final = 1e-3
PEAK_FREQUENCY_HZ: Final = 15.0
WAVELET_SAMPLES: Final = 147
"""Length of the Ricker wavelet; its peak lies at index 73."""
SOURCE_ROW: Final = 1
SOURCE_COLUMNS: Final = (0, 17, 34, 52, 69)
RECEIVER_ROW: Final = 1

VELOCITY_MIN_MPS: Final = 1500.0
VELOCITY_MAX_MPS: Final = 4500.0

ACCURACY: Final = 4
"""Order in space; the scheme is of 2nd order in time."""
PML_CELLS: Final = 20
PML_FREQUENCY_HZ: Final = 15.0
PML_MAX_VELOCITY_MPS: Final = 4500.0
"""Fixed, so that a record does not depend on the other maps of its batch."""
COURANT_NUMBER: Final = 0.65
"""Above deepwave's default, which halves the time step from 4243 m/s on; OpenFWI keeps 1 ms."""

GENERATOR_VERSION: Final = 2
"""Of the velocity-map generators; changes whenever any map changes."""
