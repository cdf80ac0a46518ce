"""Velocity maps as small PNG pictures."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from bench.protocol.survey import VELOCITY_MAX_MPS, VELOCITY_MIN_MPS
from bench.seismic.colours import palette

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

ERROR_RANGE_MPS = 1000.0
"""Error pictures end at minus and plus this; larger errors have the end colours."""
PITCH = 72
"""Pixels from one tile of a sheet to the next: a map is 70 wide."""
_LEVELS = 127
"""Of each colour scale in a sheet; one is 24 m/s."""
_U16 = 65535
_COMPRESSION = 1
"""A third of the time of zlib's default, for pictures that are 8 % larger."""


def velocity_tile(velocity: npt.NDArray[np.uint16]) -> Bytes:
    """Colour indices of one map (z, x) in m/s."""
    tile: Bytes = _velocity_indices()[velocity]
    return tile


def error_tile(prediction: npt.NDArray[np.uint16], truth: npt.NDArray[np.uint16]) -> Bytes:
    """Colour indices of prediction - truth, both (z, x) in m/s."""
    tile: Bytes = _error_indices()[prediction.astype(np.int32) - truth + _U16]
    return tile


@dataclass(frozen=True, slots=True)
class Sheet:
    """Many tiles in one PNG: fewer files to write, open and delete."""

    png: bytes
    width: int
    height: int

    @staticmethod
    def of(rows: Sequence[Sequence[Bytes]]) -> "Sheet":
        """Tiles in rows of equal length, `PITCH` pixels apart."""
        height, width = PITCH * len(rows), PITCH * max(map(len, rows))
        index = np.full((height, width), 2 * _LEVELS, np.uint8)
        for i, row in enumerate(rows):
            for j, tile in enumerate(row):
                y, x = i * PITCH, j * PITCH
                index[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
        return Sheet(_png(index), width, height)


def mae_mps(prediction: npt.NDArray[np.uint16], truth: npt.NDArray[np.uint16]) -> float:
    return float(np.abs(prediction.astype(np.float64) - truth.astype(np.float64)).mean())


def _index(scaled: Floats, first: int) -> Bytes:
    index: Bytes = (np.round(np.clip(scaled, 0, 1) * (_LEVELS - 1)) + first).astype(np.uint8)
    return index


@cache
def _velocity_indices() -> Bytes:
    """Of every velocity in whole m/s: to look up is quicker than to compute."""
    span = VELOCITY_MAX_MPS - VELOCITY_MIN_MPS
    return _index((np.arange(_U16 + 1.0) - VELOCITY_MIN_MPS) / span, 0)


@cache
def _error_indices() -> Bytes:
    """Of every error from -`_U16` to `_U16` m/s."""
    errors = np.arange(-_U16, _U16 + 1.0)
    return _index(errors / (2 * ERROR_RANGE_MPS) + 0.5, _LEVELS)


@cache
def _both() -> list[int]:
    """Palette of a sheet, flat RGB: velocity, error, and one colour for the gaps."""
    picks = np.round(np.linspace(0, 255, _LEVELS)).astype(int)
    colours = [*palette("velocity")[picks], *palette("error")[picks]]
    return [int(channel) for colour in colours for channel in colour] + [128, 128, 128]


def _png(index: Bytes) -> bytes:
    """An 8-bit palette PNG."""
    picture = Image.fromarray(index, mode="P")
    picture.putpalette(_both())
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=_COMPRESSION)
    return buffer.getvalue()
