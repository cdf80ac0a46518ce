"""One .npy file of records or maps: checks of its content, samples read in place.

Plain positioned reads, not a memory map: as fast, and a file that shrinks or a disk that fails
while it is read raises an error, where a map would kill the process. Nothing stays open, so the
2,000 files of the whole release cost no file descriptors and no address space.
"""

import hashlib
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from bench.errors import DataError
from bench.protocol import survey

Content = Literal["records", "maps"]
Fault = Literal[
    "missing",
    "unreadable",
    "truncated",
    "dtype",
    "shape",
    "count",
    "unpaired",
    "not_finite",
    "velocity_range",
    "changed",
    "mismatch",
]

SAMPLE_SHAPES: dict[Content, tuple[int, ...]] = {
    "records": survey.RECORD_SHAPE,
    "maps": (1, *survey.MAP_SHAPE),
}
_RANGE_TOLERANCE_MPS = 0.01
_HEADER_BYTES = 4096
_BLOCK_BYTES = 4096
_BLOCKS = 8


class FileError(DataError):
    """A fault of a data file: its kind, the file, and the sample if there is one."""

    def __init__(self, fault: Fault, path: Path, what: str, *, sample: int | None = None) -> None:
        where = f"{path}: " if sample is None else f"{path}: sample {sample} "
        there = fault not in ("missing", "unpaired")
        again = (
            "fetch it again, or delete it to have it made again" if there else "fetch or make it"
        )
        super().__init__(f"{where}{what}; {again}.")
        self.fault, self.path, self.sample = fault, path, sample


@dataclass(frozen=True, kw_only=True)
class NpyFile:
    """A file whose header and size are valid. Created by `open`; samples are read on demand."""

    path: Path
    content: Content
    samples: int
    dtype: np.dtype[np.floating]
    offset: int

    @classmethod
    def open(
        cls, path: Path, content: Content, samples: int, *, types: Sequence[str] = ("<f4",)
    ) -> Self:
        """Check header and size, and read no sample. Raises `FileError`."""
        try:
            with path.open("rb", buffering=0) as file:
                start = file.read(_HEADER_BYTES)
                size = file.seek(0, io.SEEK_END)
        except FileNotFoundError:
            raise FileError("missing", path, "the file is missing") from None
        except OSError as error:
            raise _unreadable(path, error) from error
        try:
            shape, fortran, dtype, offset = _parse(start)
        except (ValueError, EOFError) as error:
            raise FileError("unreadable", path, "not a .npy file, or cut short") from error
        if dtype.str not in types or fortran:
            order = " in Fortran order" if fortran else ""
            raise FileError("dtype", path, f"type {dtype}{order}, expected float32")
        if shape[1:] != SAMPLE_SHAPES[content]:
            expected = (samples, *SAMPLE_SHAPES[content])
            raise FileError("shape", path, f"shape {shape}, expected {expected}")
        if shape[0] != samples:
            raise FileError("count", path, f"holds {shape[0]} samples, expected {samples}")
        whole = offset + math.prod(shape) * dtype.itemsize
        if size != whole:
            what = "cut short" if size < whole else "longer than its header says"
            raise FileError("truncated", path, f"{what}: {size:,} of {whole:,} bytes")
        return cls(path=path, content=content, samples=samples, dtype=dtype, offset=offset)

    def read(self, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """(k, 5, 1000, 70) pressures or (k, 1, 70, 70) m/s.

        Raises `FileError` for a sample that holds NaN or infinity, or velocities out of range.
        """
        block = self._raw(rows)
        for fault in self._faults(block, rows):
            raise fault
        return block.astype(np.float32, copy=False)

    def scan(self, rows: Sequence[int] | NDArray[np.int64]) -> list[FileError]:
        """The faults of these samples, one for each sample at most."""
        try:
            return list(self._faults(self._raw(rows), rows))
        except FileError as fault:
            return [fault]

    def sketch(self) -> bytes:
        """SHA-256 over the file's size, its header and eight blocks of 4 KiB, evenly spaced.

        What of the content can be hashed without reading 700 MB: files with other samples, or in
        another order, have another sketch.
        """
        digest = hashlib.sha256()
        try:
            with self.path.open("rb", buffering=0) as file:
                size = file.seek(0, io.SEEK_END)
                digest.update(str(size).encode())
                for number in range(_BLOCKS):
                    file.seek((size - _BLOCK_BYTES) * number // (_BLOCKS - 1) if number else 0)
                    digest.update(file.read(_BLOCK_BYTES))
        except OSError as error:
            raise _unreadable(self.path, error) from error
        return digest.digest()

    def _raw(self, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[np.floating]:
        block = np.empty((len(rows), *SAMPLE_SHAPES[self.content]), dtype=self.dtype)
        try:
            with self.path.open("rb") as file:
                for slot, row in zip(block, rows, strict=True):
                    file.seek(self.offset + int(row) * slot.nbytes)
                    if file.readinto(slot.data) != slot.nbytes:
                        raise FileError("truncated", self.path, "was cut short while in use")
        except OSError as error:
            raise _unreadable(self.path, error) from error
        return block

    def _faults(
        self, block: NDArray[np.floating], rows: Sequence[int] | NDArray[np.int64]
    ) -> Iterator[FileError]:
        flat = block.reshape(len(block), -1)
        for row, low, high in zip(rows, flat.min(axis=1), flat.max(axis=1), strict=True):
            sample = int(row)
            if not (np.isfinite(low) and np.isfinite(high)):
                what = "holds NaN or infinite values"
                yield FileError("not_finite", self.path, what, sample=sample)
            elif self.content == "maps" and not (
                low >= survey.VELOCITY_MIN_MPS - _RANGE_TOLERANCE_MPS
                and high <= survey.VELOCITY_MAX_MPS + _RANGE_TOLERANCE_MPS
            ):
                what = (
                    f"has velocities from {low:g} to {high:g} m/s, outside "
                    f"{survey.VELOCITY_MIN_MPS:g} to {survey.VELOCITY_MAX_MPS:g}"
                )
                yield FileError("velocity_range", self.path, what, sample=sample)


def sha256(path: Path) -> str:
    """SHA-256 of a whole file, as hex digits. Raises `FileError`."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> FileError:
    return FileError("unreadable", path, f"cannot be read ({error.strerror or error})")


@lru_cache(maxsize=256)
def _parse(start: bytes) -> tuple[tuple[int, ...], bool, np.dtype[np.floating], int]:
    """Shape, Fortran order, type and offset of the data, from the beginning of the file."""
    file = io.BytesIO(start)
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"version {version}")
    return shape, fortran, dtype, file.tell()
