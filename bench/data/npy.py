"""One .npy file of records or maps: checks of its content, samples read in place.

Plain positioned reads, not a memory map: as fast, and a file that shrinks or a disk that fails
while it is read raises an error, where a map would kill the process. Nothing stays open, so the
2,000 files of the whole release cost no file descriptors and no address space.
"""

import hashlib
import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from bench.errors import DataError
from bench.files import open_regular
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
    "constant",
    "duplicate",
    "changed",
    "mismatch",
]

SAMPLE_SHAPES: dict[Content, tuple[int, ...]] = {
    "records": survey.RECORD_SHAPE,
    "maps": (1, *survey.MAP_SHAPE),
}
_OTHER_SHAPES: dict[Content, tuple[tuple[int, ...], ...]] = {
    "records": (),
    "maps": (survey.MAP_SHAPE,),
}
_RANGE_TOLERANCE_MPS = 0.01
_HALF_EXPONENT_AND_FRACTION, _HALF_INFINITY = np.uint16(0x7FFF), np.uint16(0x7C00)
_HEADER_BYTES = 4096
_MAGIC = b"\x93NUMPY"
_SIZE = re.compile(r" *+(0|[1-9][0-9]{0,14}) *+")
_LENGTH_BYTES = {b"\x01\x00": 2, b"\x02\x00": 4, b"\x03\x00": 4}
"""How many bytes tell the header's length, by version of the format."""
_ENTRY = re.compile(
    r"""[ \n]*+(['"])(descr|fortran_order|shape)\1[ \n]*+:[ \n]*+"""
    r"""(?:(['"])([^'"\\]{1,20})\3|(True|False)|\(([0-9, ]{0,200})\))[ \n]*+(?:,|(?=\}))"""
)


class FileError(DataError):
    """A fault of a data file: its kind, the file, and the sample if there is one.

    The advice to remove a file is given only where this program can make it again (`generated`).
    """

    def __init__(
        self,
        fault: Fault,
        path: Path,
        what: str,
        *,
        sample: int | None = None,
        generated: bool = False,
    ) -> None:
        where = f"{path}: " if sample is None else f"{path}: sample {sample} "
        absent = fault in ("missing", "unpaired")
        if generated:
            again = "make it" if absent else "delete it to have it made again"
        else:
            again = "fetch it" if absent else "fetch it again"
        super().__init__(f"{where}{what}; {again}.")
        self.fault, self.path, self.sample = fault, path, sample
        self.generated = generated


@dataclass(frozen=True, kw_only=True)
class NpyFile:
    """A file whose header and size are valid. Created by `open`; samples are read on demand."""

    path: Path
    content: Content
    samples: int
    dtype: np.dtype[np.floating]
    offset: int
    generated: bool = False
    """Whether this program can make it again."""

    @classmethod
    def open(
        cls,
        path: Path,
        content: Content,
        samples: int | None,
        *,
        types: Sequence[str] = ("<f4",),
        generated: bool = False,
    ) -> Self:
        """Check header and size, and read no sample. Raises `FileError`.

        `samples` is how many there have to be; None: however many there are. Maps may also be
        (n, 70, 70).
        """

        def fault(kind: Fault, what: str) -> FileError:
            return FileError(kind, path, what, generated=generated)

        try:
            with open_regular(path) as file:
                start = file.read(_HEADER_BYTES)
                size = os.fstat(file.fileno()).st_size
        except FileNotFoundError:
            raise fault("missing", "the file is missing") from None
        except OSError as error:
            raise fault("unreadable", f"cannot be read ({error.strerror or error})") from error
        try:
            shape, fortran, kind, offset = _parse(start)
        except ValueError as error:
            raise fault("unreadable", "not a .npy file, or its header is damaged") from error
        if kind not in types or fortran:
            order = " in Fortran order" if fortran else ""
            known = " or ".join(np.dtype(t).name for t in types)
            raise fault("dtype", f"type '{kind}'{order}, expected {known}")
        if shape[1:] not in (SAMPLE_SHAPES[content], *_OTHER_SHAPES[content]):
            count = "n" if samples is None else samples
            expected = f"({', '.join(map(str, (count, *SAMPLE_SHAPES[content])))})"
            raise fault("shape", f"shape {shape}, expected {expected}")
        if samples is not None and shape[0] != samples:
            raise fault("count", f"holds {shape[0]} samples, expected {samples}")
        dtype: np.dtype[np.floating] = np.dtype(kind)
        whole = offset + math.prod(shape) * dtype.itemsize
        if size != whole:
            what = "cut short" if size < whole else "longer than its header says"
            raise fault("truncated", f"{what}: {size:,} of {whole:,} bytes")
        return cls(
            path=path,
            content=content,
            samples=shape[0],
            dtype=dtype,
            offset=offset,
            generated=generated,
        )

    def read(self, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """(k, 5, 1000, 70) pressures or (k, 1, 70, 70) m/s.

        Raises `FileError` for a sample that holds NaN or infinity, or velocities out of range.
        """
        out = np.empty((len(rows), *SAMPLE_SHAPES[self.content]), dtype=np.float32)
        self.read_into(out, range(len(rows)), rows)
        return out

    def read_into(
        self,
        out: NDArray[np.floating],
        places: Sequence[int],
        rows: Sequence[int] | NDArray[np.int64],
    ) -> None:
        """Like `read`, into these places of an array: without a copy where it has the file's
        type, otherwise converted."""
        if out.dtype == self.dtype:
            targets = [out[place] for place in places]
            self._fill(targets, rows)
        else:
            block = self._raw(rows)
            targets = list(block)
        for fault in self._faults(targets, rows):
            raise fault
        if out.dtype != self.dtype:
            out[list(places)] = block

    def scan(
        self, rows: Sequence[int] | NDArray[np.int64]
    ) -> tuple[list[FileError], NDArray[np.floating] | None]:
        """The faults of these samples, one for each at most, and the samples as the file has them.

        Unlike `read` it also finds records in which a shot has one value throughout. Where they
        cannot be read, None, and a fault that says why.
        """
        try:
            block = self._raw(rows)
        except FileError as fault:
            return [fault], None
        return [*self._faults(block, rows), *self._constant(block, rows)], block

    def header(self) -> bytes:
        """What stands before the samples. Raises `FileError`."""
        try:
            with open_regular(self.path) as file:
                return file.read(self.offset)
        except OSError as error:
            raise self._fault(
                "unreadable", f"cannot be read ({error.strerror or error})"
            ) from error

    def _raw(self, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[np.floating]:
        block = np.empty((len(rows), *SAMPLE_SHAPES[self.content]), dtype=self.dtype)
        self._fill(block, rows)
        return block

    def _fill(
        self,
        slots: Iterable[NDArray[np.floating]],
        rows: Sequence[int] | NDArray[np.int64],
    ) -> None:
        try:
            with open_regular(self.path) as file:
                for slot, row in zip(slots, rows, strict=True):
                    file.seek(self.offset + int(row) * slot.nbytes)
                    if file.readinto(slot.data) != slot.nbytes:
                        raise self._fault("truncated", "was cut short while in use")
        except OSError as error:
            raise self._fault(
                "unreadable", f"cannot be read ({error.strerror or error})"
            ) from error

    def _fault(self, fault: Fault, what: str, sample: int | None = None) -> FileError:
        return FileError(fault, self.path, what, sample=sample, generated=self.generated)

    def _unreadable(self, error: OSError) -> FileError:
        return self._fault("unreadable", f"cannot be read ({error.strerror or error})")

    def _constant(
        self, block: NDArray[np.floating], rows: Sequence[int] | NDArray[np.int64]
    ) -> Iterator[FileError]:
        """Records with a shot of one value; homogeneous maps are maps."""
        if self.content == "maps":
            return
        shots = block.reshape(len(block), survey.SHOTS, -1)
        low = shots.min(axis=2)
        same = (low == shots.max(axis=2)) & np.isfinite(low)
        for row, values, silent in zip(rows, shots, same, strict=True):
            if silent.any():
                shot = int(silent.argmax())
                what = f"has one value ({values[shot, 0]:g}) throughout shot {shot + 1}"
                yield self._fault("constant", what, int(row))

    def _faults(
        self,
        samples: Iterable[NDArray[np.floating]],
        rows: Sequence[int] | NDArray[np.int64],
    ) -> Iterator[FileError]:
        for row, values in zip(rows, samples, strict=True):
            sample = int(row)
            if not _finite(values):
                yield self._fault("not_finite", "holds NaN or infinite values", sample)
                continue
            if self.content == "records":
                continue
            low, high = values.min(), values.max()
            if not (
                low >= survey.VELOCITY_MIN_MPS - _RANGE_TOLERANCE_MPS
                and high <= survey.VELOCITY_MAX_MPS + _RANGE_TOLERANCE_MPS
            ):
                what = (
                    f"has velocities from {low:g} to {high:g} m/s, outside "
                    f"{survey.VELOCITY_MIN_MPS:g} to {survey.VELOCITY_MAX_MPS:g}"
                )
                yield self._fault("velocity_range", what, sample)


def _finite(values: NDArray[np.floating]) -> bool:
    """Whether all values are finite. Those of half precision are told by their exponent bits:
    NumPy compares them a hundred times more slowly."""
    if values.dtype == np.float16:
        return bool((values.view(np.uint16) & _HALF_EXPONENT_AND_FRACTION).max() < _HALF_INFINITY)
    return bool(np.isfinite(values.min()) and np.isfinite(values.max()))


def sha256(path: Path, *, generated: bool = False) -> str:
    """SHA-256 of a whole file, as hex digits. Raises `FileError`."""
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        what = f"cannot be read ({error.strerror or error})"
        raise FileError("unreadable", path, what, generated=generated) from error


@lru_cache(maxsize=256)
def _parse(start: bytes) -> tuple[tuple[int, ...], bool, str, int]:
    """Shape, Fortran order, type and offset of the data, from the beginning of the file.

    The header is matched against the form that NumPy writes, never evaluated: a damaged one can
    make a parser of Python fail in many ways, or warn. Raises `ValueError`.
    """
    length_bytes = _LENGTH_BYTES.get(start[6:8])
    if start[:6] != _MAGIC or length_bytes is None:
        raise ValueError("not a .npy file")
    begin = 8 + length_bytes
    end = begin + int.from_bytes(start[8:begin], "little")
    if end > len(start):
        raise ValueError("the header is too long, or cut short")
    text = start[begin:end].decode("latin-1").strip(" \n")
    entries: dict[str, re.Match[str]] = {}
    place = 1
    while match := _ENTRY.match(text, place):
        entries[match[2]] = match
        place = match.end()
    if text[:1] != "{" or text[place:].strip(" \n") != "}" or len(entries) != 3:
        raise ValueError("the header is not that of one array")
    kind, order, sizes = entries["descr"][4], entries["fortran_order"][5], entries["shape"][6]
    if kind is None or order is None or sizes is None:
        raise ValueError("an entry of the header is of a wrong type")
    parts = [_SIZE.fullmatch(size) for size in sizes.rstrip(" ").removesuffix(",").split(",")]
    shape = tuple(int(match[1]) for match in parts if match)
    if len(shape) != len(parts):
        raise ValueError("a size in the header is not a number")
    return shape, order == "True", kind, end
