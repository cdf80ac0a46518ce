"""Velocity maps as small PNG pictures: colour scales, encoder, reader of `maps.npz`."""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from bench.protocol.survey import MAP_SHAPE, VELOCITY_MAX_MPS, VELOCITY_MIN_MPS
from bench.records.record import MAPS_FILE

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

_VELOCITY = (
    (0.22, 0.09, 285),
    (0.36, 0.12, 265),
    (0.50, 0.11, 235),
    (0.63, 0.10, 195),
    (0.75, 0.12, 150),
    (0.86, 0.14, 112),
    (0.96, 0.09, 95),
)
"""OKLCh anchors of the velocity scale: lightness rises evenly, so that order reads without hue."""
_ERROR = (
    (0.36, 0.13, 262),
    (0.58, 0.13, 250),
    (0.80, 0.07, 240),
    (0.975, 0.0, 90),
    (0.80, 0.09, 60),
    (0.60, 0.16, 42),
    (0.40, 0.14, 30),
)
"""Blue: predicted too slow; orange: too fast; both ends equally dark."""


@dataclass(frozen=True, slots=True)
class Gallery:
    """Kept maps of one cell, m/s, axes (sample, z, x)."""

    samples: npt.NDArray[np.int32]
    truth: npt.NDArray[np.uint16]
    prediction: npt.NDArray[np.uint16]


def load(folder: Path, datasets: Sequence[str]) -> dict[str, Gallery]:
    """Galleries by dataset; empty if the run keeps no maps. Raises ValueError for a bad file."""
    path = folder / MAPS_FILE
    if not path.is_file():
        return {}
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {
                name: _gallery(
                    arrays[f"{name}.sample"], arrays[f"{name}.truth"], arrays[f"{name}.prediction"]
                )
                for name in datasets
                if f"{name}.truth" in arrays
            }
    except (OSError, BadZipFile, KeyError, EOFError, zlib.error) as error:
        raise ValueError(f"Maps cannot be read: {error}.") from error


def _gallery(
    samples: npt.NDArray[np.int32],
    truth: npt.NDArray[np.uint16],
    prediction: npt.NDArray[np.uint16],
) -> Gallery:
    shape = (len(samples), *MAP_SHAPE)
    if truth.shape != shape or prediction.shape != shape:
        raise ValueError(f"Maps are {truth.shape} and {prediction.shape}, not {shape}.")
    return Gallery(samples, truth, prediction)


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


def spatial_information(truth: npt.NDArray[np.uint16]) -> float:
    """Mean Sobel gradient magnitude of maps (sample, z, x), as scikit-image's `sobel` scales it."""
    v = np.pad(truth.astype(np.float64), ((0, 0), (1, 1), (1, 1)), mode="symmetric")
    smooth_x = (v[:, :, :-2] + 2 * v[:, :, 1:-1] + v[:, :, 2:]) / 4
    smooth_z = (v[:, :-2] + 2 * v[:, 1:-1] + v[:, 2:]) / 4
    down = smooth_x[:, 2:] - smooth_x[:, :-2]
    across = smooth_z[:, :, 2:] - smooth_z[:, :, :-2]
    return float(np.sqrt((down**2 + across**2) / 2).mean())


def stops(scale: str, count: int = 12) -> list[tuple[float, str]]:
    """(position, colour) along a scale, for a colour bar."""
    colours = palette(scale)
    positions = [i / (count - 1) for i in range(count)]
    return [(p, "#" + bytes(colours[round(p * 255)].tolist()).hex()) for p in positions]


@cache
def palette(scale: str) -> Bytes:
    """256 sRGB colours of the scale ``velocity`` or ``error``, (256, 3)."""
    anchors = np.array({"velocity": _VELOCITY, "error": _ERROR}[scale], dtype=np.float64)
    angle = np.deg2rad(anchors[:, 2])
    lab = np.column_stack(
        [anchors[:, 0], anchors[:, 1] * np.cos(angle), anchors[:, 1] * np.sin(angle)]
    )
    where = np.linspace(0, len(lab) - 1, 256)
    channels = [np.interp(where, np.arange(len(lab)), lab[:, c]) for c in range(3)]
    return _srgb(np.column_stack(channels))


def _srgb(lab: Floats) -> Bytes:
    """OKLab → sRGB (Ottosson 2020), clipped to the gamut."""
    to_lms = np.array(
        [
            [1, 0.3963377774, 0.2158037573],
            [1, -0.1055613458, -0.0638541728],
            [1, -0.0894841775, -1.2914855480],
        ]
    )
    to_rgb = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    )
    linear = np.clip((lab @ to_lms.T) ** 3 @ to_rgb.T, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    colours: Bytes = np.round(encoded * 255).astype(np.uint8)
    return colours


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
def _both() -> bytes:
    """PNG palette: velocity, error, and one colour for the gaps."""
    picks = np.round(np.linspace(0, 255, _LEVELS)).astype(int)
    colours = [*palette("velocity")[picks], *palette("error")[picks]]
    return b"".join(bytes(colour.tolist()) for colour in colours) + b"\x80" * 3


def _png(index: Bytes) -> bytes:
    """An 8-bit palette PNG."""
    height, width = index.shape
    rows = np.zeros((height, width + 1), np.uint8)
    rows[:, 1:] = index
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = (
        (b"IHDR", header),
        (b"PLTE", _both()),
        (b"IDAT", zlib.compress(rows.tobytes(), _COMPRESSION)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))
