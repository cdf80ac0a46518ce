"""glibc's allocator and large activations.

By default glibc asks the system for every block of over 32 MiB anew and gives it back when it is
freed, so that each training step faults its pages in again; on a CPU that can cost as much time as
the arithmetic (`bench speed --against reference` shows it). Here it is told to keep what it has.
Elsewhere (macOS, musl) these functions do nothing.
"""

import ctypes
import platform
from functools import cache

import torch

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # mallopt(3)


@cache
def _libc() -> ctypes.CDLL | None:
    return ctypes.CDLL("libc.so.6") if platform.libc_ver()[0] == "glibc" else None


def keep() -> None:
    """Keep freed blocks for the next step instead of giving them back."""
    if libc := _libc():
        libc.mallopt(_MMAP_MAX, 0)
        libc.mallopt(_TRIM_THRESHOLD, -1)


def trim() -> None:
    """Return free memory to the system, so that one fit's peak excludes the previous one's."""
    if libc := _libc():
        libc.malloc_trim(0)


def is_exhausted(problem: BaseException | None) -> bool:
    """Whether an error, or its cause, says that memory was not enough.

    On a CPU torch has no type of its own for it.
    """
    if problem is None:
        return False
    if isinstance(problem, torch.OutOfMemoryError | MemoryError) or is_exhausted(problem.__cause__):
        return True
    return type(problem) is RuntimeError and "can't allocate memory" in str(problem)
